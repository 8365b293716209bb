"""The memory of a replica: what it uses, and whether there is room for another release."""

from pathlib import Path
from typing import Any

import psutil

from serve.releases.release import ReleaseError

MIB = 2**20

CGROUP = Path("/sys/fs/cgroup")
"""Where a container's limits stand (cgroup v2)."""

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


def check_room(manifest: dict[str, Any]) -> None:
    """Raises ReleaseError where a release does not fit beside what is there."""
    needed, free = SPARE * manifest.get("memory_mib", 0.0), free_mib()
    if needed > free:
        raise ReleaseError(
            f"no room for the release: it needs {needed:.0f} MiB, {free:.0f} MiB are free; give the node"
            " or its container more memory, or run fewer replicas on it"
        )
