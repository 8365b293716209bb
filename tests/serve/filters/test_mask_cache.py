"""The cache of masks: within its bounds as memory is measured, and one computation for all who wait."""

import asyncio
import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from data.sources.schema import Feature, FeatureKind
from serve.filters import mask_cache
from serve.filters.grammar import AllOf, AnyOf, Condition, Filter, Not
from serve.filters.masks import FilterColumns

FEATURES = (Feature(name="year", kind=FeatureKind.numeric), Feature(name="studio", kind=FeatureKind.categorical))
NUM_ITEMS = 2000


def columns() -> FilterColumns:
    years = np.arange(NUM_ITEMS) % 100
    return FilterColumns(pa.table({"year": years, "studio": [f"s{year}" for year in years]}), FEATURES)


def of_strings(n: int) -> Filter:
    return Condition("studio", FeatureKind.categorical, "in", tuple(f"studio {n} {m} {'x' * 150}" for m in range(256)))


def of_few(n: int) -> Filter:
    return Condition("year", FeatureKind.numeric, ">", n / 1000)


def of_many(n: int) -> Filter:
    return AnyOf(tuple(Condition("year", FeatureKind.numeric, "==", n + m / 64) for m in range(32)))


@pytest.mark.parametrize("filter_of", [of_strings, of_few, of_many])
def test_what_is_kept_is_within_the_bound(filter_of: Callable[[int], Filter], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long lists of strings, lists of nearly all items, and many small conditions."""
    bound = 2 * 2**20
    monkeypatch.setattr(mask_cache, "MAX_CACHED_BYTES", bound)
    filtered = columns()
    filtered.matching(filter_of(-1))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(300):  # several times what there is room for
        filtered.matching(filter_of(n))
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert bound / 4 < taken < bound


def test_the_number_of_filters_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_cache, "MAX_CACHED_FILTERS", 10)
    filtered = columns()
    for n in range(20):
        filtered.matching(of_few(n))
    assert [n for n in range(20) if filtered.holds(of_few(n))] == list(range(10, 20))


class Gated(FilterColumns):
    """Masks that are computed as soon as the gate is open."""

    def __init__(self) -> None:
        super().__init__(pa.table({"year": np.arange(NUM_ITEMS)}), FEATURES[:1])
        self.gate, self.computed = threading.Event(), 0

    def _mask(self, filter: Filter) -> np.ndarray:
        self.computed += 1
        self.gate.wait(60)
        if self.computed == 1 and filter == of_few(404):
            raise MemoryError("no room for a mask")
        return super()._mask(filter)


async def test_all_who_wait_for_a_mask_share_it() -> None:
    filtered = Gated()
    waiting = [asyncio.create_task(filtered.prepare(of_few(1))) for _ in range(100)]
    with ThreadPoolExecutor(4) as pool:
        blocked = [pool.submit(filtered.matching, of_few(1)) for _ in range(4)]
        await asyncio.sleep(0.1)
        waiting[0].cancel()
        filtered.gate.set()
        await asyncio.gather(*waiting[1:])
        found = {id(one.result()) for one in blocked}
    assert (filtered.computed, found) == (1, {id(filtered.matching(of_few(1)))})


async def test_what_nobody_waits_for_any_more_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that have given up would otherwise keep the threads from the filters of others."""
    monkeypatch.setattr(mask_cache, "MAX_QUEUED", 60)
    filtered = Gated()
    abandoned = [asyncio.create_task(filtered.prepare(of_few(n))) for n in range(50)]
    joined = asyncio.create_task(filtered.prepare(of_few(49)))
    while filtered.computed < 2:  # one in each thread
        await asyncio.sleep(0.001)
    for one in abandoned:
        one.cancel()
    await asyncio.wait(abandoned)
    later = [asyncio.create_task(filtered.prepare(of_few(n))) for n in (40, *range(50, 60))]
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(filtered.matching, of_few(50))
        await asyncio.sleep(0.1)
        later[1].cancel()
        filtered.gate.set()
        await asyncio.gather(joined, later[0], *later[2:])
        assert blocked.result().count == NUM_ITEMS - 1
    assert [n for n in range(60) if filtered.holds(of_few(n))] == [0, 1, 40, *range(49, 60)]
    assert filtered.computed == 14


async def test_a_mask_that_is_begun_is_computed_where_no_others_are() -> None:
    filtered = Gated()
    for n in (0, 0, 1, 2):
        filtered.begin(of_few(n))
    waiting = asyncio.create_task(filtered.prepare(of_few(3)))
    filtered.gate.set()
    await waiting
    await asyncio.gather(*(filtered.prepare(of_few(n)) for n in (0, 1)))
    assert [n for n in range(4) if filtered.holds(of_few(n))] == [0, 1, 3]
    assert filtered.computed == 3


async def test_the_filters_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_cache, "MAX_QUEUED", 3)
    filtered = Gated()
    running = [asyncio.create_task(filtered.prepare(of_few(n))) for n in range(2)]
    while filtered.computed < 2:
        await asyncio.sleep(0.001)
    waiting = [asyncio.create_task(filtered.prepare(of_few(n))) for n in (2, 3, 4, 4, 4)]
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError, match="3 filters wait"):
        await filtered.prepare(of_few(5))
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    last = asyncio.create_task(filtered.prepare(of_few(5)))
    filtered.gate.set()
    await asyncio.gather(*running, *waiting[1:], last)
    assert [n for n in range(6) if filtered.holds(of_few(n))] == [0, 1, 3, 4, 5]


async def test_a_mask_that_fails_fails_for_all_who_wait_and_is_tried_again() -> None:
    filtered = Gated()
    waiting = [asyncio.create_task(filtered.prepare(of_few(404))) for _ in range(3)]
    await asyncio.sleep(0.1)
    filtered.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in found] == 3 * ["no room for a mask"]
    assert filtered.matching(of_few(404)).count == NUM_ITEMS - 1


def test_the_columns_of_a_release_are_freed_without_the_garbage_collector() -> None:
    filtered = columns()
    filtered.matching(of_few(1))
    there = weakref.ref(filtered)
    gc.disable()
    try:
        del filtered
        assert there() is None
    finally:
        gc.enable()


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the lists in which numbers are looked up."""
    found: list[int] = []
    is_in = np.isin

    def counted(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        found.append(len(wanted))
        return is_in(values, wanted)

    monkeypatch.setattr(np, "isin", counted)
    return found


def years_in(*values: float) -> Filter:
    return Condition("year", FeatureKind.numeric, "in", values)


def test_alternatives_of_one_field_are_looked_up_together(lookups: list[int]) -> None:
    parts = tuple(Condition("year", FeatureKind.numeric, "in", (float(n), n + 50.0)) for n in range(8))
    parts += (of_few(98_000), Condition("studio", FeatureKind.categorical, "in", ("s90", "s91")))
    passing = columns().matching(AnyOf(parts)).entries % 100
    assert sorted(set(passing.tolist())) == [*range(8), *range(50, 58), 90, 91, 99]
    assert lookups == [16]


LISTS = (years_in(*range(60)), years_in(*range(40, 100)), years_in(*range(30, 58)))


@pytest.mark.parametrize(
    ("filter", "years", "num_values"),
    [
        (AllOf(LISTS), range(40, 58), 18),
        (AllOf((*LISTS, years_in(99.0))), (), 0),
        (AllOf(tuple(map(Not, LISTS[1:]))), range(30), 70),
        (AnyOf(tuple(map(Not, LISTS))), [*range(40), *range(58, 100)], 18),
        (AllOf((LISTS[0], Not(LISTS[2]), LISTS[1])), [58, 59], None),
    ],
)
def test_lists_of_one_field_are_looked_up_once(
    filter: Filter, years: Sequence[int], num_values: int | None, lookups: list[int]
) -> None:
    passing = columns().matching(filter).entries % 100
    assert sorted(set(passing.tolist())) == list(years)
    assert lookups == ([20, 28] if num_values is None else [num_values])


async def test_what_else_needs_a_thread_does_not_wait_behind_masks() -> None:
    """The default threads of the event loop read the live pointer, write heartbeats, and read keys."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    filtered = Gated()
    waiting = [asyncio.create_task(filtered.prepare(of_few(n))) for n in range(10)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "read"), 30) == "read"
        assert not any(one.done() for one in waiting)
    finally:
        filtered.gate.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize(("num_items", "least_mib", "most_mib"), [(1, 64, 64), (10**9, 1000, 1100)])
def test_what_the_cache_grows_to_is_known_beforehand(num_items: int, least_mib: float, most_mib: float) -> None:
    """For the memory that a release is said to take: the bound, or one filter of a catalogue beyond it."""
    assert least_mib <= mask_cache.cached_bytes(num_items) / 2**20 <= most_mib
