"""The copy of a replica, exact or as an inverted file: which of many equal items come last is not left to FAISS."""

import asyncio
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from serve.filters.masks import FilterColumns
from serve.index import replica_index
from serve.index.faiss_files import FaissIndexes
from serve.index.faiss_library import faiss
from serve.index.replica_index import ReplicaIndex
from towers.model.tie_order import TieOrder

SIZE, DIM = 6000, 8
ALIKE = np.arange(1000, 1600)
"""Rows with one vector."""


def index(exact_up_to: int, seed: int | None) -> ReplicaIndex:
    vectors_ND = np.random.default_rng(0).standard_normal((SIZE, DIM))
    vectors_ND[ALIKE - 1] = vectors_ND[ALIKE[0] - 1]
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    indexes = FaissIndexes.of(vectors_ND, exact_up_to)
    return ReplicaIndex("r", indexes, FilterColumns(pa.table({"row": range(SIZE)}), ()), TieOrder.of(SIZE + 1, seed))


def search(found: ReplicaIndex, k: int, exclude: np.ndarray | None = None) -> list[int]:
    query_D = found._vectors_ND[ALIKE[0] - 1].copy()
    return asyncio.run(found.search(query_D, k, exclude=exclude)).rows.tolist()


@pytest.mark.parametrize("exact_up_to", [SIZE, 0])
@pytest.mark.parametrize("k", [5, 100])
@pytest.mark.parametrize("seed", [None, 3])
def test_of_many_equal_items_those_come_that_the_order_puts_first(exact_up_to: int, k: int, seed: int | None) -> None:
    ordered = [row for row in TieOrder.of(SIZE + 1, seed).rows_I.tolist() if row in set(ALIKE.tolist())]
    found = index(exact_up_to, seed)
    assert search(found, k) == ordered[:k]
    assert search(found, k, exclude=np.array(ordered[:30])) == ordered[30 : 30 + k]


def test_from_release_to_release_other_items_come() -> None:
    times = Counter(row for seed in range(20) for row in search(index(SIZE, seed), 100))
    assert len(times) > 500
    assert max(times.values()) < 12, "about 20 x 100 / 600 each"


def test_more_equal_items_than_are_searched_for_give_a_full_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_index, "MAX_TIED", 50)
    found = search(index(SIZE, 3), 20)
    assert len(set(found)) == 20
    assert set(found) <= set(ALIKE.tolist())


def test_a_search_without_ties_at_the_end_is_one_search() -> None:
    found, calls = index(SIZE, 3), []
    plain = found._search_flat
    found._search_flat = lambda *arguments: calls.append(arguments[1]) or plain(*arguments)  # type: ignore[method-assign]
    query_D = np.random.default_rng(5).standard_normal(DIM).astype(np.float32)
    asyncio.run(found.search(query_D, 10))
    assert calls == [10 + replica_index.TIE_MARGIN]


@pytest.mark.parametrize(("exact_up_to", "name"), [(SIZE, "exact"), (0, "inverted")])
def test_a_search_takes_the_thread_that_calls_it_alone(exact_up_to: int, name: str) -> None:
    """Whichever thread has built the index, and however many OpenMP's environment gives to this one, which it keeps."""
    found, before, counts = index(exact_up_to, None), faiss.omp_get_max_threads(), list[int]()
    searched = getattr(found, f"_{name}")

    class Counting:
        def __getattr__(self, attribute: str) -> object:
            if attribute == "search":
                counts.append(faiss.omp_get_max_threads())
            return getattr(searched, attribute)

    setattr(found, f"_{name}", Counting())
    faiss.omp_set_num_threads(3)
    try:
        request = replica_index.SearchRequest.of(found._vectors_ND[0].copy(), 5, None, None)
        assert len(found.search_all([request])[0].rows) == 5
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)
    assert set(counts) == {1}
