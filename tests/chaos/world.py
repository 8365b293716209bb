"""What the faults act upon, and where they register."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos.machine import Clock, MemoryGroup
from tests.chaos.milvus_proxy import MilvusProxy
from tests.chaos.verdict import Kill


@dataclass
class World:
    """What the faults act upon.

    Attributes:
        storage: the storage root.
        milvus: the proxy by which the endpoint reaches Milvus.
        empty_milvus: the host and port of another Milvus, which holds no collection.
        clock: the clock of the machine; None where it is not to be set.
        memory: the memory of the endpoint's processes; None where it cannot be limited.
        random: draws which replica is hit.
        kills: the processes on the way of a request that were killed.
    """

    storage: Path
    milvus: MilvusProxy
    empty_milvus: tuple[str, int]
    clock: Clock | None
    memory: MemoryGroup | None
    random: Random
    kills: list[Kill] = field(default_factory=list)

    @property
    def is_mounted(self) -> bool:
        """Whether the storage is a filesystem of its own, which can be full or read-only."""
        return self.storage.is_mount()


Fault = Callable[[World], AbstractContextManager[None]]

FAULTS: dict[str, Fault] = {}
"""All faults by name."""


def fault(function: Callable[[World], Iterator[None]]) -> Fault:
    """Registers a fault under its function's name."""
    FAULTS[function.__name__] = contextmanager(function)
    return FAULTS[function.__name__]
