"""The address of a Ray that a command is to join, and whether anything answers there.

By itself, Ray waits a quarter of an hour for one that does not answer. And it takes an address of loopback for the
machine's own, on which no Ray listens that a command of ours has started. Nor does it show its token to a Ray whose
address it is told.
"""

import socket
import time

from data.artifacts.errors import ConfigError, UserError
from data.cluster.loopback import is_loopback
from data.cluster.ray_compatibility.core import listen_on_loopback, own_address, running_rays, started_ray
from data.cluster.ray_compatibility.tokens import asks_for_token, show_token

ANSWERS_WITHIN_S = 15.0
"""Seconds within which a Ray must answer, such as one whose head is being replaced."""

AGAIN_S = 0.5
"""Seconds between two attempts."""

BY_CLIENT = "ray://"
"""How an address of Ray's client begins, which Ray itself looks after."""


class RayUnavailable(UserError, ConnectionError):
    """No Ray cluster answers at the address."""


def address_to_join(address: str, within_s: float = ANSWERS_WITHIN_S) -> str:
    """Returns the address as `ray.init` takes it, once something answers there.

    Where the Ray listens on loopback alone, this process calls it from there. Where it is one of this machine and asks
    for its token, this process shows it from now on, unless RAY_AUTH_MODE says otherwise.

    Args:
        address: `auto` for the Ray that runs on this machine, or the host and port of a cluster's head.
        within_s: seconds to wait for an answer.

    Raises:
        ConfigError: it is no such address.
        RayUnavailable: nothing answers there; or it is `auto`, and none or several run here.
    """
    if address.startswith(BY_CLIENT):
        return address
    found = _running() if address == "auto" else address
    host, _, port = found.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise ConfigError(
            f"cluster.address: {found!r} (or RAY_ADDRESS) must be auto, or the host and port of Ray's head, such as"
            " 10.0.0.5:6379"
        )
    host = host.strip("[]")
    if is_loopback(host) and f"127.0.0.1:{port}" in running_rays():
        listen_on_loopback()
    own = own_address(host)
    _require_answer(own, int(port), found, within_s)
    if asks_for_token(f"{'127.0.0.1' if is_loopback(own) else own}:{port}"):
        show_token()
    return found


def _running() -> str:
    """The address of the Ray that runs on this machine; of several, that which `ray start` has started last."""
    running = running_rays()
    if len(running) == 1:
        return running[0]
    if (started := started_ray()) is not None:
        return started
    if running:
        raise RayUnavailable(f"cluster.address: auto, and several run here; name one of {', '.join(running)}")
    raise RayUnavailable("cluster.address: auto, and no Ray runs on this machine; name the host and port of one")


def _require_answer(host: str, port: int, address: str, within_s: float) -> None:
    ends = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection((host, port), timeout=max(ends - time.monotonic(), AGAIN_S)).close()
        except (OSError, OverflowError) as e:
            if time.monotonic() + AGAIN_S > ends:
                raise RayUnavailable(
                    f"cluster.address: no Ray answers at {address} ({e}); start one there, or unset RAY_ADDRESS"
                ) from e
            time.sleep(AGAIN_S)
        else:
            return
