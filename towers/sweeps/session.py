"""The Ray that a sweep works on."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

import ray

from data.cluster.session import ClusterConfig, connect
from towers.sweeps.settings import LauncherConfig

LEFT_OUT = ("/var", "/.git", "/.venv*", "*.egg-info", "__pycache__", "*.ipynb")
"""Of the code's folder, where it is sent to a cluster."""


@contextmanager
def joined(settings: LauncherConfig) -> Iterator[bool]:
    """Joins or starts Ray as long as the block lasts; one that was there before stays. Yields whether it may grow.

    Raises:
        ConnectionError: nothing answers at the address.
    """
    if ray.is_initialized():
        yield True
        return
    address = settings.address or os.environ.get("RAY_ADDRESS")
    cores = os.cpu_count() or 1
    cluster = ClusterConfig(address=address, num_cpus=settings.num_cpus or 2 * cores, dashboard=False)
    connect(cluster, _shipped() if address and settings.ship_code else None, log_to_driver=False)
    try:
        yield bool(address)
    finally:
        ray.shutdown()


@contextmanager
def stoppable() -> Iterator[Event]:
    """An event that Ctrl-C sets as long as the block lasts; a second one interrupts as ever.

    Where Python raises KeyboardInterrupt by itself, in a finalizer or a callback of Ray's, say, it may be lost.
    """
    stop, before = Event(), signal.getsignal(signal.SIGINT)

    def stopped(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signal.signal(signal.SIGINT, stopped)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _shipped() -> dict[str, object]:
    """The code, for a cluster elsewhere; a job of the cluster's own has brought it along."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    return {"working_dir": str(Path(__file__).parents[2]), "excludes": list(LEFT_OUT)}
