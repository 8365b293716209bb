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
from omegaconf import DictConfig, OmegaConf

from data.artifacts.structured import structured
from data.cluster.session import ClusterConfig, connect
from towers.sweeps.settings import LauncherConfig

EXCLUDED = ("/var", "/.git", "/.venv*", "*.egg-info", "__pycache__", "*.ipynb")
"""Patterns of what is left out when the folder of the code is sent to a cluster."""

PACKAGES = ("conf", "data", "towers", "serve", "hydra_plugins")
"""What an installed distribution sends to a cluster."""


@contextmanager
def connected(settings: LauncherConfig, config: DictConfig) -> Iterator[bool]:
    """Joins or starts Ray until the block ends; a connection that this process had before stays open.

    Args:
        config: that of the sweep, see `cluster_of`.

    Yields:
        Whether nodes may be added to the cluster.

    Raises:
        RayUnavailable: no cluster answers at the address.
    """
    if ray.is_initialized():
        yield True
        return
    cluster = cluster_of(settings, config)
    if cluster.address:
        print(f"sweep: trials run on the Ray at {cluster.address}")
    connect(cluster, _code_to_ship() if cluster.address and settings.ship_code else None, log_to_driver=False)
    try:
        yield bool(cluster.address)
    finally:
        ray.shutdown()


def cluster_of(settings: LauncherConfig, config: DictConfig) -> ClusterConfig:
    """The Ray of a sweep: what `hydra.launcher` leaves out is that of the command, `cluster`, or of the environment.

    Args:
        config: that of the sweep; one of another program may have no `cluster` of ours.
    """
    of_command = ClusterConfig()
    if "cluster" in config and OmegaConf.get_type(config, "cluster") is ClusterConfig:
        of_command = structured(ClusterConfig, config.cluster)
    return ClusterConfig(
        address=settings.address or of_command.address or os.environ.get("RAY_ADDRESS"),
        num_cpus=settings.num_cpus or of_command.num_cpus or 2 * (os.cpu_count() or 1),
        dashboard=False,
    )


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
