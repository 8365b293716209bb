"""Memory: what a release takes in a replica, and whether there is room for it beside the one that answers."""

from pathlib import Path
from typing import Any

import psutil

from serve.release import ReleaseError

MIB = 2**20
CGROUP = Path("/sys/fs/cgroup")
"""Where a container's limits stand (cgroup v2)."""

FILES = 6
"""Times their size, compressed as they are, files take in memory."""

SPARE = 1.25
"""Times as much as a release takes must be free: it is larger for a moment while it is loaded."""


def used_mib() -> float:
    """Of this process."""
    return float(psutil.Process().memory_info().rss / MIB)


def free_mib() -> float:
    """What this process could still take: of the machine's memory, or of its container's."""
    free = float(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        free = free if limit == "max" else min(free, float(limit) - float(used))
    except (OSError, ValueError):  # no container, or one of another kind
        pass
    return free / MIB


def estimated_mib(file_bytes: int, num_items: int, dim: int) -> float:
    """What a release takes in a replica: its files as tensors, tables and dictionaries of ids, its vectors twice.

    Of 100,000 items x 64 and 50,000 users, 46 MiB of files, a replica grew by 370 MiB, 41 of which any first release
    takes.
    """
    return (FILES * file_bytes + 2 * 4 * num_items * dim) / MIB


def check_room(manifest: dict[str, Any]) -> None:
    """Raises ReleaseError where a release does not fit beside what is there."""
    needed, free = SPARE * manifest.get("memory_mib", 0.0), free_mib()
    if needed > free:
        raise ReleaseError(
            f"no room for the release: it needs {needed:.0f} MiB, {free:.0f} MiB are free; give the node"
            " or its container more memory, or run fewer replicas on it"
        )
