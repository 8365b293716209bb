"""Hosts that can be reached from this machine alone."""

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host, to listen on or to ask, can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_from_here(host: str | None, origin: str | None) -> bool:
    """Whether a request calls a server by a name of loopback, and not from a page of a web site of elsewhere.

    A browser sends to loopback what any web site asks it to, and shows the answers to one whose name leads there (DNS
    rebinding). It says so in these headers.

    Args:
        host: the header `Host`; None if there is none, as of no browser.
        origin: the header `Origin`; None if there is none.
    """
    return (host is None or _leads_here(f"//{host}")) and (origin is None or _leads_here(origin))


@lru_cache(maxsize=256)
def _leads_here(address: str) -> bool:
    try:
        return is_loopback(urlsplit(address).hostname or "")
    except ValueError:  # what begins as an IPv6 address is none
        return False
