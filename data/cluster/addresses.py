"""Addresses of servers in configs, which are read before anything starts."""

import re
from urllib.parse import urlsplit

from data.artifacts.errors import ConfigError
from data.artifacts.secrets import recordable

DATABASE = re.compile(r"/?[0-9]*")
"""What may stand behind the port. redis-py takes any other path for database 0."""


def check_redis_address(key: str, uri: str) -> None:
    """Checks an address such as redis://host:6379/0.

    Args:
        key: the config key that holds it, for messages.

    Raises:
        ConfigError: no connection can be made by it, whether or not a Redis runs there. The message shows no password.
    """
    if not _is_usable(uri):
        raise ConfigError(
            f"{key}: {recordable(uri)!r} must be redis://host:6379/0, or rediss:// with TLS: a host, a port from 1 to"
            " 65535, the number of a database, and options of redis-py alone"
        )


def is_web_address(url: str) -> bool:
    """Whether this is http or https with a host and, if any, a port from 1 to 65535."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # what begins as an IPv6 address is none, or the port is no such number
        return False


def _is_usable(uri: str) -> bool:
    from redis import ConnectionPool  # takes a tenth of a second, which few commands need

    if any(character.isspace() for character in uri):
        return False
    try:
        parts = urlsplit(uri)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
            return False
        ConnectionPool.from_url(uri).make_connection()  # reads all of the address, and connects with the first command
    except (ValueError, TypeError):  # what they say repeats parts of the address
        return False
    return DATABASE.fullmatch(parts.path) is not None and not parts.fragment
