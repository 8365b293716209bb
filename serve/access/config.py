"""The configuration of who may ask, as in conf/auth, and of the keys that `serve.keys` makes."""

import re
from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from serve.access.scopes import Scope

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""The names that a key may have: they stand in logs and metrics."""


COUNTERS = ("memory", "redis", "rediss")
"""Schemes of the places where calls are counted."""


class AuthKind(Enum):
    """How a caller shows who it is."""

    loopback = "loopback"  # not at all, and the endpoint therefore listens on loopback alone
    none = "none"  # not at all, wherever the endpoint listens: something in front of it asks
    keys = "keys"  # by an API key


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
        if scheme not in COUNTERS or "@" in rest:
            raise ConfigError(
                f"auth.limits.counters: {scheme}://{'...' if rest else ''} must be memory:// or redis://host:6379, or"
                " rediss:// with TLS, without a password, which is read from REDIS_PASSWORD"
            )


@dataclass(kw_only=True, slots=True)
class AuthConfig:
    """Who may ask.

    Attributes:
        kind: How a caller shows who it is.
        file: With keys: the file with the hashes of the keys, a path or a URI. The environment variable API_KEYS, with
            the content of such a file, takes its place.
        limits: How often each caller may ask.
        refresh_s: Seconds between two readings of that file: a revoked key is refused, and a new one taken, after them.
    """

    kind: AuthKind = AuthKind.loopback
    file: str = "./var/keys.json"
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    refresh_s: float = bounded(5.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "auth")

    @property
    def asks(self) -> bool:
        """Whether callers must show who they are."""
        return self.kind is AuthKind.keys


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
    expires_days: float | None = bounded(None, above=0)
    rate: str | None = None
    concurrency: int | None = bounded(None, at_least=1)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "key")
        check_rate("key.rate", self.rate)
        if not self.scopes:
            raise ConfigError(f"key.scopes: [] must hold one of {', '.join(scope.value for scope in Scope)}")


def check_rate(key: str, rate: str | None) -> None:
    """Raises ConfigError where a text is no rate; null is one."""
    if rate is None:
        return
    from limits import parse  # takes a good part of a second, which few commands need

    try:
        parse(rate)
    except ValueError as e:
        raise ConfigError(f"{key}: {rate!r} must be like 100/second or 5000/minute, or null") from e
