"""The memory of a replica: how much it uses, and whether another release fits."""

from pathlib import Path
from typing import Any

import psutil

from serve.releases.release import ReleaseError

MIB = 2**20

CGROUP = Path("/sys/fs/cgroup")
"""Where a container's memory limit and use are read (cgroup v2)."""

HEADROOM = 1.25
"""Free memory that a release needs, as a multiple of its size: loading it takes more for a moment."""


def used_mib() -> float:
    """The resident memory of this process in MiB."""
    return float(psutil.Process().memory_info().rss / MIB)


def free_mib() -> float:
    """The memory in MiB that this process could still take, of the machine or of its container."""
    free = float(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        free = free if limit == "max" else min(free, float(limit) - float(used))
    except (OSError, ValueError):  # broad: without a container or under cgroup v1, these files are missing or differ
        pass
    return free / MIB


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
