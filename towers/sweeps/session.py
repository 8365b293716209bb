"""The Ray cluster that a sweep runs on, and stopping a sweep by Ctrl-C."""

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

EXCLUDED = ("/var", "/.git", "/.venv*", "*.egg-info", "__pycache__", "*.ipynb")
"""Patterns of what is left out when the folder of the code is sent to a cluster."""

PACKAGES = ("conf", "data", "towers", "serve", "hydra_plugins")
"""What an installed distribution sends to a cluster."""


@contextmanager
def connected(settings: LauncherConfig) -> Iterator[bool]:
    """Joins or starts Ray until the block ends; a connection that this process had before stays open.

    Yields:
        Whether nodes may be added to the cluster.

    Raises:
        RayUnavailable: no cluster answers at the address.
    """
    if ray.is_initialized():
        yield True
        return
    address = settings.address or os.environ.get("RAY_ADDRESS")
    cores = os.cpu_count() or 1
    cluster = ClusterConfig(address=address, num_cpus=settings.num_cpus or 2 * cores, dashboard=False)
    connect(cluster, _code_to_ship() if address and settings.ship_code else None, log_to_driver=False)
    try:
        yield bool(address)
    finally:
        ray.shutdown()


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """An event that Ctrl-C sets until the block ends; a second Ctrl-C raises KeyboardInterrupt as usual.

    The KeyboardInterrupt that Python itself raises may be swallowed, for example in a finalizer or in a callback of
    Ray. In other threads than the main one, Python receives no signals, and the event is never set.
    """
    stop, previous = Event(), signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, previous)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def _code_to_ship() -> dict[str, object]:
    """A runtime environment with this code, for a cluster elsewhere; a Ray job has brought the code along already."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    root = Path(__file__).parents[2]
    if (root / "pyproject.toml").exists():
        return {"working_dir": str(root), "excludes": list(EXCLUDED)}
    return {"py_modules": [str(root / name) for name in PACKAGES]}  # installed, beside whatever else is
