"""The configuration of who may ask, as in conf/auth, and of the keys that `serve.keys` makes."""

import re
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from data.artifacts.bounds import LARGEST_INT, bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.secrets import holds_secret, masked, recordable
from data.cluster.addresses import check_redis_address, is_web_address
from data.cluster.loopback import is_loopback
from serve.access.scopes import Scope

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""The names that a key may have: they stand in logs and metrics."""


HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@]+)(?::\d*)?")


COUNTERS = ("memory", "redis", "rediss")
"""Schemes of the places where calls are counted."""


RATE = re.compile(r"\s*(?P<amount>[0-9]+)\s*(?:/|per)\s*(?P<multiple>[0-9]*)\s*[a-z]+\s*", re.IGNORECASE)
"""One rate. `limits` reads several too, of which the first counts, and takes a multiple of 0 for 1."""


ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512",
)  # fmt: skip
"""Algorithms of signatures that a token may have."""


class AuthKind(Enum):
    """How a caller shows who it is."""

    loopback = "loopback"  # not at all, and the endpoint therefore listens on loopback alone
    none = "none"  # not at all, wherever the endpoint listens: something in front of it asks
    keys = "keys"  # by an API key
    jwt = "jwt"  # by a JSON Web Token of an identity provider


@dataclass(kw_only=True, slots=True)
class LimitsConfig:
    """How often each caller may ask. A call beyond a limit gets 429 with Retry-After.

    Attributes:
        rate: Recommendations in a time, such as `100/second` or `5000/minute`, of a caller whose key names no rate; a
            batch counts as many as it asks for. Null means no limit.
        concurrency: Calls at the same time in each replica, of a caller whose key names no such limit.
        counters: Where calls are counted: `memory://` in each replica for itself, or `redis://host:6379` for all
            together. The password of Redis is read from REDIS_PASSWORD.
        timeout_ms: Milliseconds that Redis may take. Where it takes longer, each replica counts for itself for a while.
    """

    rate: str | None = None
    concurrency: int | None = bounded(None, at_least=1)
    counters: str = "memory://"
    timeout_ms: int = bounded(20, at_least=1)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "auth.limits")
        check_rate("auth.limits.rate", self.rate)
        scheme, _, rest = self.counters.partition("://")
        if scheme not in COUNTERS or "@" in rest or holds_secret(self.counters):
            raise ConfigError(
                f"auth.limits.counters: {scheme}://{'...' if rest else ''} must be memory:// or redis://host:6379, or"
                " rediss:// with TLS, without a password, which is read from REDIS_PASSWORD"
            )
        if scheme != "memory":
            check_redis_address("auth.limits.counters", self.counters)


@dataclass(kw_only=True, slots=True)
class JwtConfig:
    """Whose JSON Web Tokens are accepted. A token must have a signature by `algorithm`, and `iss`, `aud` and `exp`.

    Attributes:
        issuer: What `iss` of a token must be.
        audience: What `aud` of a token must be, or contain.
        algorithm: The one algorithm of signatures. With HS256 and its siblings the key is shared: JWT_KEY in the
            environment. Otherwise the public keys are those of `jwks`.
        jwks: A JSON Web Key Set: an https URL, or a file by its path or URI.
        refresh_s: Seconds between two readings of a URL; a token by a key that is not in it has it read sooner.
        leeway_s: Seconds by which clocks may differ.
        name_claim: The claim that names the caller.
        scope_claim: The claim with the scopes, as a list or as words. Those that mean nothing here do not count.
    """

    issuer: str | None = None
    audience: str | None = None
    algorithm: str = "RS256"
    jwks: str | None = None
    refresh_s: float = bounded(300.0, above=0)
    leeway_s: float = bounded(10.0, at_least=0)
    name_claim: str = "sub"
    scope_claim: str = "scope"

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "auth.jwt")
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(f"auth.jwt.algorithm: {self.algorithm!r} must be one of {', '.join(ALGORITHMS)}")
        jwks = self.jwks or ""
        if jwks.lower().startswith(("http://", "https://")) and not is_web_address(jwks):
            raise ConfigError(f"auth.jwt.jwks: {masked(jwks)} must be https://host/path or https://host:port/path")
        if jwks.lower().startswith("http://") and not is_loopback(_host(jwks)):
            raise ConfigError(f"auth.jwt.jwks: {masked(jwks)} must be https: whoever answers in its place makes tokens")

    @property
    def is_shared(self) -> bool:
        """Whether who signs and who checks share a key."""
        return self.algorithm.startswith("HS")

    def require(self) -> None:
        """Raises ConfigError where a value is missing without which no token can be checked."""
        missing = [name for name in ("issuer", "audience") if not getattr(self, name)]
        missing += ["jwks"] if not self.is_shared and not self.jwks else []
        if missing:
            raise ConfigError(f"auth.jwt.{missing[0]}: null must be given with auth=jwt")
        if self.is_shared and self.jwks:
            raise ConfigError(
                f"auth.jwt.jwks: {recordable(self.jwks)} must be null with {self.algorithm}, whose key is in JWT_KEY"
            )


@dataclass(kw_only=True, slots=True)
class AuthConfig:
    """Who may ask.

    Attributes:
        kind: How a caller shows who it is.
        file: With keys: the file with the hashes of the keys, a path or a URI. The environment variable API_KEYS, with
            the content of such a file, takes its place.
        jwt: With jwt: whose tokens are accepted.
        limits: How often each caller may ask.
        refresh_s: Seconds between two readings of that file: a revoked key is refused, and a new one taken, after them.
    """

    kind: AuthKind = AuthKind.loopback
    file: str = "./var/keys.json"
    jwt: JwtConfig = field(default_factory=JwtConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    refresh_s: float = bounded(5.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "auth")
        if self.kind is AuthKind.jwt:
            self.jwt.require()

    @property
    def asks(self) -> bool:
        """Whether callers must show who they are."""
        return self.kind in (AuthKind.keys, AuthKind.jwt)


@dataclass(kw_only=True, slots=True)
class KeyConfig:
    """The key that `serve.keys mint=NAME` makes.

    Attributes:
        scopes: What it allows.
        expires_days: Days after which it is refused; null means never.
        rate: Recommendations in a time, such as `100/second`; null means that of auth.limits.
        concurrency: Calls at the same time in each replica; null means that of auth.limits.
    """

    scopes: list[Scope] = field(default_factory=lambda: [Scope.recommend])
    expires_days: float | None = bounded(None, above=0, at_most=36_500)
    rate: str | None = None
    concurrency: int | None = bounded(None, at_least=1)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "key")
        check_rate("key.rate", self.rate)
        if not self.scopes:
            raise ConfigError(f"key.scopes: [] must hold one of {', '.join(scope.value for scope in Scope)}")


def _host(url: str) -> str:
    """The host of a URL; empty where it has none, or has more than a port beside it."""
    try:
        found = HOST_AND_PORT.fullmatch(urlsplit(url).netloc)
    except ValueError:  # what begins as an IPv6 address is none
        return ""
    return "" if found is None else found[1]


def check_rate(key: str, rate: str | None) -> None:
    """Raises ConfigError where a text is not one rate, of at least 1; null is one."""
    if rate is not None and not _is_rate(rate):
        raise ConfigError(f"{key}: {rate!r} must be like 100/second or 5000/minute (one rate, and not 0), or null")


def _is_rate(text: str) -> bool:
    from limits import parse  # takes a good part of a second, which few commands need

    found = RATE.fullmatch(text)
    try:
        item = parse(text)
        is_one = found is not None and int(found["multiple"] or 1) >= 1
    except ValueError:
        return False
    return is_one and 1 <= item.amount <= LARGEST_INT and item.get_expiry() <= LARGEST_INT
