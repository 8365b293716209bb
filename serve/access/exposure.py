"""Whether an endpoint may start: who may ask is said where others can reach it, and can be known."""

import ipaddress

from data.artifacts.errors import ConfigError
from data.artifacts.secrets import secret
from serve.access.config import AuthConfig, AuthKind
from serve.access.key_file import require_keys

HASH_KEY = "USER_HASH_KEY"
"""The secret by which logs and exposures name users."""

SHORTEST_HASH_KEY = 16


def check_access(auth: AuthConfig, host: str) -> None:
    """Checks, before anything starts, that who may ask is said and can be known.

    Args:
        auth: who may ask.
        host: the host on which the endpoint listens.

    Raises:
        ConfigError: others can reach it, and `auth` was left as it is, or there is no USER_HASH_KEY.
        KeyFileError: there is no key, or the keys cannot be read.
        TokenKeysError: the keys by which tokens are signed cannot be read.
    """
    check_exposure(auth, host)
    require_hash_key(auth)
    if auth.kind is AuthKind.keys:
        require_keys(auth)
    if auth.kind is AuthKind.jwt:
        from serve.access.token_keys import read_token_keys

        read_token_keys(auth.jwt)


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


def require_hash_key(auth: AuthConfig) -> None:
    """Refuses to name users of others by a hash that anybody can compute.

    Raises:
        ConfigError: `auth` is not left as it is, and USER_HASH_KEY is not set, or too short.
    """
    if auth.kind is not AuthKind.loopback and len(secret(HASH_KEY)) < SHORTEST_HASH_KEY:
        raise ConfigError(
            f"{HASH_KEY}: must have at least {SHORTEST_HASH_KEY} characters in the environment of the endpoint, because"
            " logs and exposures name users by its hash; make one by `openssl rand -hex 32`, and keep it"
        )


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
