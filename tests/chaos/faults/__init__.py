"""The faults: each is a context manager that breaks something of the world and mends it; `FAULTS` has their names.

A fault that kills yields at once, and what was killed is for Ray to replace.
"""

from tests.chaos.faults import machine, milvus, processes, storage
from tests.chaos.world import FAULTS, World

__all__ = ["FAULTS", "machine", "milvus", "possible", "processes", "storage"]

NEEDS_MOUNT = ("storage_full", "storage_read_only")
"""Faults that need a storage that is a filesystem of its own: root can mount one."""


def possible(world: World) -> list[str]:
    """The names of the faults that can be produced in this world."""
    missing = {
        *(NEEDS_MOUNT if not world.is_mounted else ()),
        *(("clock_jumps",) if world.clock is None else ()),
        *(("memory_pressure",) if world.memory is None else ()),
    }
    return sorted(FAULTS.keys() - missing)
