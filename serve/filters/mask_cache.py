"""The cache of masks: the items that pass the filters used last, each computed once, whoever asks for it meanwhile.

Shape legend: N items (rows 1..N).
"""

import asyncio
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

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

NUM_THREADS = 2
MASK_THREADS = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="mask")
"""Where masks are computed. The event loop's default threads are for what must not wait behind filters: readings of the
live pointer, heartbeats, keys."""

MAX_QUEUED = 128
"""Most masks of one cache that wait for these threads; further ones would be late. A batch of requests, each with a
filter of its own, waits with half as many."""


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


@dataclass(slots=True, eq=False)
class _Computation:
    """A mask that is being computed, or waits for a thread.

    Attributes:
        num_waiting: How many callers wait for it.
    """

    compute: Compute
    found: Future[MatchingItems] = field(default_factory=Future)
    num_waiting: int = 0


class MaskCache:
    """Keeps the items that pass the filters used last, within MAX_CACHED_BYTES. Threads may share it.

    It keeps no reference to what computes the masks, which holds it: in a cycle neither would be freed.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Filter, MatchingItems] = OrderedDict()
        self._being_computed: dict[Filter, _Computation] = {}
        self._queued: OrderedDict[Filter, _Computation] = OrderedDict()  # those of them that have not begun
        self._num_bytes = 0
        self._lock = threading.Lock()

    def holds(self, filter: Filter) -> bool:
        """Whether `get` takes no time for this filter."""
        return filter in self._kept

    def get(self, filter: Filter, compute: Compute) -> MatchingItems:
        """Returns the items that pass; where another thread computes them already, waits for that."""
        if (kept := self._find(filter)) is not None:
            return kept
        with self._awaited(filter, compute, is_queued=False) as (computation, is_first):
            if is_first:
                self._run(filter, computation)
            return computation.found.result()

    async def prepare(self, filter: Filter, compute: Compute) -> None:
        """Returns when the cache holds the items that pass.

        They are computed in one of MASK_THREADS, which goes on where the caller is cancelled; further callers wait
        without one. What nobody waits for any more before it has begun is not computed.

        Raises:
            TimeoutError: MAX_QUEUED filters wait already.
        """
        if self.holds(filter):
            return
        with self._awaited(filter, compute, is_queued=True) as (computation, is_first):
            if is_first:
                MASK_THREADS.submit(self._run_next)
            await asyncio.shield(asyncio.wrap_future(computation.found))

    def begin(self, filter: Filter, compute: Compute) -> None:
        """Begins to compute the items that pass, for callers to come; nobody waits for it, and it does not block.

        It does nothing while this cache computes as many masks as there are threads: callers wait for those.
        """
        with self._lock:
            if filter in self._kept or filter in self._being_computed or len(self._being_computed) >= NUM_THREADS:
                return
            self._being_computed[filter] = self._queued[filter] = _Computation(compute)
        MASK_THREADS.submit(self._run_next)

    def _find(self, filter: Filter) -> MatchingItems | None:
        with self._lock:
            if filter in self._kept:
                self._kept.move_to_end(filter)
            return self._kept.get(filter)

    @contextmanager
    def _awaited(self, filter: Filter, compute: Compute, *, is_queued: bool) -> Iterator[tuple[_Computation, bool]]:
        """What computes a mask, for as long as the caller waits for it, and whether the caller is the first to do so.

        Args:
            is_queued: Whether the computation waits for one of MASK_THREADS if the caller is the first.
        """
        with self._lock:
            computation = self._being_computed.get(filter)
            is_first = computation is None
            if computation is None:
                if is_queued and len(self._queued) >= MAX_QUEUED:
                    raise TimeoutError(f"{MAX_QUEUED} filters wait to be computed")
                computation = self._being_computed[filter] = _Computation(compute)
                if is_queued:
                    self._queued[filter] = computation
            computation.num_waiting += 1
        try:
            yield computation, is_first
        finally:
            with self._lock:
                computation.num_waiting -= 1
                is_abandoned = not computation.num_waiting and self._queued.get(filter) is computation
                if is_abandoned:
                    del self._queued[filter], self._being_computed[filter]
            if is_abandoned:
                computation.found.cancel()

    def _run_next(self) -> None:
        """Computes the mask that has waited longest, if any does: those that were abandoned do not."""
        with self._lock:
            if not self._queued:
                return
            filter, computation = self._queued.popitem(last=False)
        self._run(filter, computation)

    def _run(self, filter: Filter, computation: _Computation) -> None:
        try:
            mask_N = computation.compute(filter)
            mask_N.setflags(write=False)
            matching = MatchingItems(mask_N)
            matching.prepare()
        except BaseException as e:  # raised to all who wait for it
            with self._lock:
                del self._being_computed[filter]
            computation.found.set_exception(e)
            return
        with self._lock:
            self._keep(filter, matching)
            del self._being_computed[filter]
        computation.found.set_result(matching)

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
