"""A cache of the releases that the page reads: each is opened at most once, the most recently used are kept."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from serve.releases.registry import ReleaseRegistry
from serve.viewer.reading.released import ReleasedCatalogue

T = TypeVar("T")

NUM_KEPT = 4
"""Catalogues that are kept in memory."""


class Recent(Generic[T]):
    """A cache of values by name that drops the least recently used one. Threads may share it.

    Args:
        make: Makes the value of a name.
        num_kept: Largest number of values that are kept.
    """

    def __init__(self, make: Callable[[str], T], num_kept: int) -> None:
        self._make, self._num_kept = make, num_kept
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, name: str) -> T:
        """Returns the value of a name, making it if need be."""
        with self._lock:
            if name not in self._kept:
                self._kept[name] = self._make(name)
            self._kept.move_to_end(name)
            while len(self._kept) > self._num_kept:
                self._kept.popitem(last=False)
            return self._kept[name]


def catalogues(registry: ReleaseRegistry) -> Recent[ReleasedCatalogue]:
    """Returns what opens the catalogue of a release by its id, and raises ReleaseError if there is no such release."""
    return Recent(lambda id_: ReleasedCatalogue(registry.path(id_), registry.manifest(id_)), NUM_KEPT)
