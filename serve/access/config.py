"""The configuration of who may ask, as in conf/auth, and of the keys that `serve.keys` makes."""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from serve.access.scopes import Scope

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""The names that a key may have: they stand in logs and metrics."""


class AuthKind(Enum):
    """How a caller shows who it is."""

    loopback = "loopback"  # not at all, and the endpoint therefore listens on loopback alone
    none = "none"  # not at all, wherever the endpoint listens: something in front of it asks
    keys = "keys"  # by an API key
    jwt = "jwt"  # by a JSON Web Token of an identity provider


@dataclass(kw_only=True, slots=True)
class AuthConfig:
    """Who may ask.

    Attributes:
        kind: How a caller shows who it is.
        file: With keys: the file with the hashes of the keys, a path or a URI. The environment variable API_KEYS, with
            the content of such a file, takes its place.
        refresh_s: Seconds between two readings of that file: a revoked key is refused, and a new one taken, after them.
    """

    kind: AuthKind = AuthKind.loopback
    file: str = "./var/keys.json"
    refresh_s: float = bounded(5.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "auth")

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
    """

    scopes: list[Scope] = field(default_factory=lambda: [Scope.recommend])
    expires_days: float | None = bounded(None, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "key")
        if not self.scopes:
            raise ConfigError(f"key.scopes: [] must hold one of {', '.join(scope.value for scope in Scope)}")


def check_exposure(auth: AuthConfig, host: str) -> None:
    """Refuses to listen where others can ask while nobody is asked who they are.

    Raises:
        ConfigError: the host is not loopback, and `auth` was left as it is.
    """
    if auth.kind is AuthKind.loopback and not is_loopback(host):
        raise ConfigError(
            f"serve.host: {host} can be reached by others, and nobody is asked for a key; pass auth=keys (python -m"
            " serve.keys mint=NAME makes one), auth=jwt, or auth=none if something in front of the endpoint asks"
        )


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
