"""Whether an endpoint may start: who may ask is said where others can reach it, and can be known."""

import ipaddress

from data.artifacts.errors import ConfigError
from serve.access.config import AuthConfig, AuthKind
from serve.access.key_file import require_keys


def check_access(auth: AuthConfig, host: str) -> None:
    """Checks, before anything starts, that who may ask is said and can be known.

    Args:
        auth: who may ask.
        host: the host on which the endpoint listens.

    Raises:
        ConfigError: others can reach it, and `auth` was left as it is.
        KeyFileError: there is no key, or the keys cannot be read.
    """
    check_exposure(auth, host)
    if auth.kind is AuthKind.keys:
        require_keys(auth)


def check_exposure(auth: AuthConfig, host: str) -> None:
    """Refuses to listen where others can ask while nobody is asked who they are.

    Raises:
        ConfigError: the host is not loopback, and `auth` was left as it is.
    """
    if auth.kind is AuthKind.loopback and not is_loopback(host):
        raise ConfigError(
            f"serve.host: {host} can be reached by others, and nobody is asked for a key; pass auth=keys (python -m"
            " serve.keys mint=NAME makes one), or auth=none if something in front of the endpoint asks"
        )


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
