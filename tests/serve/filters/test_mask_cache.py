"""The cache of masks: within its bounds as memory is measured, and one computation for all who wait."""

import asyncio
import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from data.sources.schema import Feature, FeatureKind
from serve.filters import mask_cache
from serve.filters.grammar import AnyOf, Condition, Filter
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


def test_alternatives_of_one_field_are_looked_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = tuple(Condition("year", FeatureKind.numeric, "in", (float(n), n + 50.0)) for n in range(8))
    parts += (of_few(98_000), Condition("studio", FeatureKind.categorical, "in", ("s90", "s91")))
    lookups: list[int] = []
    is_in = np.isin

    def counted(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        lookups.append(len(wanted))
        return is_in(values, wanted)

    monkeypatch.setattr(np, "isin", counted)
    passing = columns().matching(AnyOf(parts)).entries % 100
    assert sorted(set(passing.tolist())) == [*range(8), *range(50, 58), 90, 91, 99]
    assert lookups == [16]


@pytest.mark.parametrize(("num_items", "least_mib", "most_mib"), [(1, 64, 64), (10**9, 1000, 1100)])
def test_what_the_cache_grows_to_is_known_beforehand(num_items: int, least_mib: float, most_mib: float) -> None:
    """For the memory that a release is said to take: the bound, or one filter of a catalogue beyond it."""
    assert least_mib <= mask_cache.cached_bytes(num_items) / 2**20 <= most_mib
