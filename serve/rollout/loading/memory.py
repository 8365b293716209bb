"""The memory of a replica: how much it uses, and whether another release fits."""

from typing import Any

import psutil

from data.cluster.machine import container_free
from serve.releases.release import ReleaseError

MIB = 2**20

HEADROOM = 1.25
"""Free memory that a release needs, as a multiple of its size: loading it takes more for a moment."""


def used_mib() -> float:
    """The resident memory of this process in MiB."""
    return float(psutil.Process().memory_info().rss / MIB)


def free_mib() -> float:
    """The memory in MiB that this process could still take, of the machine or of its container."""
    free = float(psutil.virtual_memory().available)
    in_container = container_free()
    return (free if in_container is None else min(free, in_container)) / MIB


def check_memory(manifest: dict[str, Any]) -> None:
    """Checks that a release fits into memory beside what is loaded.

    Raises:
        ReleaseError: it does not fit.
    """
    needed, free = HEADROOM * manifest.get("memory_mib", 0.0), free_mib()
    if needed > free:
        raise ReleaseError(
            f"no room for the release: it needs {needed:.0f} MiB, {free:.0f} MiB are free; give the node"
            " or its container more memory, or run fewer replicas on it"
        )
