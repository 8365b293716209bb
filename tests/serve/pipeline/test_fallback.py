"""The popular items of a request: those of a plain sort, without a pass over the catalogue."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import parse
from serve.filters.masks import FilterColumns
from serve.pipeline import fallback
from serve.pipeline.fallback import PopularFallback, RecentFirst
from towers.model.tie_order import TieOrder

NUM_ITEMS = 5000
FEATURES = (Feature(name="group", kind=FeatureKind.categorical),)
TIES = TieOrder.of(NUM_ITEMS + 1, seed=3)
COUNTS_I = np.concatenate([[0], np.random.default_rng(0).geometric(0.1, NUM_ITEMS)])
GROUPS = [f"g{(row * 7919) % 1000 // 100}" if row % 50 else "rare" for row in range(NUM_ITEMS)]


@pytest.fixture(params=[20_000, 0], ids=["sorted", "walked"])
def popular(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PopularFallback:
    monkeypatch.setattr(fallback, "FEW", request.param)
    columns = FilterColumns(pa.table({"group": GROUPS}), FEATURES)
    parts: Any = SimpleNamespace(popularity_I=COUNTS_I, ties=TIES)
    return PopularFallback("r", parts, columns)


@pytest.mark.parametrize("group", [None, "g3", "rare", "nobody's"])
@pytest.mark.parametrize(("k", "excluded"), [(1, 0), (20, 3), (100, 1000), (NUM_ITEMS, 10), (100, NUM_ITEMS)])
def test_they_are_those_of_a_plain_sort(popular: PopularFallback, group: str | None, k: int, excluded: int) -> None:
    exclude = np.argsort(-COUNTS_I, kind="stable")[:excluded].repeat(2)  # the most popular ones, each twice
    filter = None if group is None else parse({"field": "group", "op": "==", "value": group}, FEATURES)
    allowed = {row for row, of_row in enumerate(GROUPS, 1) if group in (None, of_row)} - set(exclude.tolist())
    wanted = [row for row in fallback.most_popular(COUNTS_I, TIES).tolist() if row in allowed][:k]
    found = popular.top(k, filter, exclude)
    assert found.rows_K.tolist() == wanted
    assert found.scores_K.tolist() == COUNTS_I[found.rows_K].tolist()


def test_a_glance_finds_those_among_the_most_popular(popular: PopularFallback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "GLANCE", 200)
    first = fallback.most_popular(COUNTS_I, TIES).tolist()[:200]
    for group, is_whole in (("g3", False), ("rare", True)):  # some 490 items, and 100
        filter = parse({"field": "group", "op": "==", "value": group}, FEATURES)
        found = popular.top(NUM_ITEMS, filter, np.array(first[:3]), glance=True).rows_K.tolist()
        whole = popular.top(NUM_ITEMS, filter, np.array(first[:3])).rows_K.tolist()
        if is_whole and fallback.FEW:
            assert found == whole, "few items are sorted"
        else:
            assert found == [row for row in whole if row in first]
    unfiltered = RecentFirst(np.array([4999]), np.array([1.0]), popular).top(NUM_ITEMS, None, np.zeros(0), glance=True)
    assert unfiltered.rows_K.tolist() == [4999, *(row for row in first if row != 4999)]


def test_what_is_popular_now_comes_first(popular: PopularFallback) -> None:
    log = popular.top(4, None, np.zeros(0, np.int64))
    first = RecentFirst(np.array([7, int(log.rows_K[1]), 9]), np.array([3.0, 2.0, 1.0]), popular)
    found = first.top(5, None, np.array([9]))
    assert found.rows_K.tolist() == [7, *log.rows_K[[1, 0, 2, 3]].tolist()]
    assert found.scores_K.tolist() == [3, 2, *log.scores_K[[0, 2, 3]].tolist()]
    assert first.top(2, None, np.zeros(0, np.int64)).rows_K.tolist() == [7, log.rows_K[1]]
    rare = parse({"field": "group", "op": "==", "value": "rare"}, FEATURES)
    assert (
        first.top(3, rare, np.zeros(0, np.int64)).rows_K.tolist()
        == popular.top(3, rare, np.zeros(0, np.int64)).rows_K.tolist()
    ), "none of the three is rare"
