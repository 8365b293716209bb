"""Recall of an approximate index, measured while it serves."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import parse
from serve.filters.masks import FilterColumns
from serve.index.faiss_files import FaissIndexes
from serve.index.protocol import Hits, recall
from serve.index.recall_monitor import RecallMonitor, SampledSearch, band
from serve.index.replica_index import ReplicaIndex


def test_recall_counts_ties_with_the_last() -> None:
    exact = Hits(np.array([1, 2, 3]), np.array([0.9, 0.5, 0.4], dtype=np.float32))
    found = Hits(np.array([1, 4, 5]), np.array([0.9, 0.4, 0.3], dtype=np.float32))
    assert recall(found, exact) == pytest.approx(2 / 3)


def test_bands() -> None:
    assert [band(share) for share in (1.0, 0.5, 0.05, 0.01, 0.0001, None)] == [
        "all",
        "1/20 or more",
        "1/20 or more",
        "1/1000 or more",
        "fewer",
        "unknown",
    ]


def test_a_sample_is_checked_and_reported() -> None:
    features = (Feature(name="price", kind=FeatureKind.numeric),)
    table = pa.table({"price": np.arange(2000.0)})
    vectors_ND = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    index = ReplicaIndex("r", FaissIndexes.of(vectors_ND, exact_up_to=0), FilterColumns(table, features))
    filter = parse({"field": "price", "op": "<", "value": 10}, features)
    reported: list[tuple[float, str]] = []

    async def watch() -> None:
        monitor = RecallMonitor(1.0, index, lambda *found: reported.append(found))
        blind = RecallMonitor(0.0, index, lambda *found: pytest.fail("not in the sample"))
        query_D = vectors_ND[0]
        good = await index.search(query_D, 20)
        half = Hits(good.rows[10:], good.scores[10:])
        for asked in (None, good), (None, half), (filter, await index.search(query_D, 20, filter=filter)):
            search = SampledSearch(query_D, 20, asked[0], None, asked[1])
            monitor.sample(search)
            blind.sample(search)
        while len(reported) < 3:
            await asyncio.sleep(0.01)

    asyncio.run(watch())
    (good, everything), (half, _), (filtered, rare) = reported
    assert good > 0.8
    assert half == pytest.approx(good - 0.5)
    assert (filtered, everything, rare) == (1.0, "all", "1/1000 or more")


async def test_an_error_ends_no_monitoring_and_masks_are_not_computed_on_the_event_loop() -> None:
    hits = Hits(np.array([1]), np.ones(1, dtype=np.float32))
    asked_on: list[threading.Thread] = []
    reported: list[tuple[float, str]] = []

    async def search_exact(*_: Any, **__: Any) -> Hits:
        return hits

    def selectivity(_: None) -> float:
        asked_on.append(threading.current_thread())
        if len(asked_on) == 1:
            raise MemoryError
        return 1.0

    def report(*found: Any) -> None:
        reported.append(found)
        if len(reported) == 1:
            raise ValueError("no exporter")

    index: Any = SimpleNamespace(search_exact=search_exact, selectivity=selectivity)
    monitor = RecallMonitor(1.0, index, report)
    async with asyncio.timeout(30):
        while len(reported) < 2:
            monitor.sample(SampledSearch(np.ones(2), 1, None, None, hits))
            await asyncio.sleep(0.01)
    assert threading.main_thread() not in asked_on
    monitor.close()
