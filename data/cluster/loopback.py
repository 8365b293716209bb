"""Hosts that can be reached from this machine alone."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, to listen on or to ask, can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
