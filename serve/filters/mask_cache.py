"""The cache of masks: the items that pass the filters used last, each computed once, whoever asks for it meanwhile.

Shape legend: N items (rows 1..N).
"""

import asyncio
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from serve.filters.grammar import AllOf, AnyOf, Condition, Filter, Not

MAX_CACHED_BYTES = 64 * 2**20
"""Size of what one cache keeps, of the filters used last; one is kept whatever its size."""

MAX_CACHED_FILTERS = 4096
"""Number of filters that one cache keeps: each lookup compares and hashes filters, however small their masks are."""

MAX_LISTED = 20_000
"""If at most this many items pass a filter, searches take them as a list, otherwise as bits."""

OBJECT_BYTES = 1024
"""What the objects of one cached filter take beside arrays and values."""

POINTER_BYTES = 8

MASK_THREADS = ThreadPoolExecutor(2, thread_name_prefix="mask")
"""Where masks are computed. The event loop's default threads are for what must not wait behind filters: readings of the
live pointer, heartbeats, keys."""


@dataclass(frozen=True)
class MatchingItems:
    """The items that pass a filter, in the forms that searches need. They are cached, so never write to them.

    Attributes:
        mask_N: bool [N]; entry i is the item of row i + 1.
    """

    mask_N: np.ndarray

    @cached_property
    def bits(self) -> np.ndarray:
        """The mask as uint8 [ceil(N / 8)], lowest bit first, which is FAISS's form of it."""
        return np.packbits(self.mask_N, bitorder="little")

    @cached_property
    def count(self) -> int:
        """Number of items that pass."""
        return int(np.count_nonzero(self.mask_N))

    @cached_property
    def entries(self) -> np.ndarray:
        """int64; the entries where the mask is true, ascending. Use it for at most MAX_LISTED: 8 bytes each stay."""
        return self.mask_N.nonzero()[0]

    @property
    def num_bytes(self) -> int:
        """Size of the mask, its bits and its entries, whether they have been computed or not."""
        of_entries = POINTER_BYTES * self.count if self.count <= MAX_LISTED else 0
        return len(self.mask_N) + len(self.mask_N) // 8 + of_entries

    def prepare(self) -> None:
        """Computes the form that a search takes."""
        _ = self.entries if self.count <= MAX_LISTED else self.bits


def cached_bytes(num_items: int) -> int:
    """The size that the cache of a release with so many items grows to, at most: filters take memory themselves."""
    return max(MAX_CACHED_BYTES, num_items + num_items // 8 + POINTER_BYTES * min(num_items, MAX_LISTED))


Compute = Callable[[Filter], np.ndarray]
"""Returns which items pass a filter, bool [N]. It takes a while, and is called without a lock."""


class MaskCache:
    """Keeps the items that pass the filters used last, within MAX_CACHED_BYTES. Threads may share it.

    It holds no reference to what computes the masks, which holds it: in a cycle neither would be freed.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Filter, MatchingItems] = OrderedDict()
        self._being_computed: dict[Filter, Future[MatchingItems]] = {}
        self._num_bytes = 0
        self._lock = threading.Lock()

    def holds(self, filter: Filter) -> bool:
        """Whether `get` takes no time for this filter."""
        return filter in self._kept

    def get(self, filter: Filter, compute: Compute) -> MatchingItems:
        """Returns the items that pass; where another thread computes them already, waits for that."""
        found, is_first = self._find(filter)
        if is_first:
            self._run(filter, compute, found)
        return found.result()

    async def prepare(self, filter: Filter, compute: Compute) -> None:
        """Returns when the cache holds the items that pass.

        They are computed in one of MASK_THREADS, which goes on where the caller is cancelled; further callers wait
        without one.
        """
        if self.holds(filter):
            return
        found, is_first = self._find(filter)
        if is_first:
            asyncio.get_running_loop().run_in_executor(MASK_THREADS, partial(self._run, filter, compute, found))
        await asyncio.shield(asyncio.wrap_future(found))

    def _find(self, filter: Filter) -> tuple[Future[MatchingItems], bool]:
        """What the cache holds or will hold, and whether the caller is the one to compute it."""
        with self._lock:
            if filter in self._kept:
                self._kept.move_to_end(filter)
                found: Future[MatchingItems] = Future()
                found.set_result(self._kept[filter])
                return found, False
            if filter in self._being_computed:
                return self._being_computed[filter], False
            return self._being_computed.setdefault(filter, Future()), True

    def _run(self, filter: Filter, compute: Compute, found: Future[MatchingItems]) -> None:
        try:
            mask_N = compute(filter)
            mask_N.setflags(write=False)
            matching = MatchingItems(mask_N)
            matching.prepare()
        except BaseException as e:  # raised to all who wait for it
            with self._lock:
                del self._being_computed[filter]
            found.set_exception(e)
            return
        with self._lock:
            self._keep(filter, matching)
            del self._being_computed[filter]
        found.set_result(matching)

    def _keep(self, filter: Filter, matching: MatchingItems) -> None:
        self._kept[filter] = matching
        self._num_bytes += _size(filter, matching)
        while len(self._kept) > 1 and (self._num_bytes > MAX_CACHED_BYTES or len(self._kept) > MAX_CACHED_FILTERS):
            self._num_bytes -= _size(*self._kept.popitem(last=False))


def _size(filter: Filter, matching: MatchingItems) -> int:
    return OBJECT_BYTES + key_bytes(filter) + matching.num_bytes


def key_bytes(filter: Filter) -> int:
    """Bytes of a filter's conditions and of their values."""
    match filter:
        case Condition(value=value):
            values = value if isinstance(value, tuple) else (value,)
            return OBJECT_BYTES // 4 + sum(POINTER_BYTES + sys.getsizeof(one) for one in values)
        case Not(part):
            return OBJECT_BYTES // 4 + key_bytes(part)
        case AllOf(parts) | AnyOf(parts):
            return OBJECT_BYTES // 4 + sum(key_bytes(part) for part in parts)
