"""Items for the conformance tests of indexes, and what exact search finds among them."""

import asyncio
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import Filter
from serve.filters.masks import FilterColumns
from serve.index.backends.published_items import PublishedItems
from serve.index.collection import write_collection
from serve.index.collection_names import collection_name
from serve.index.config import IndexConfig
from serve.index.protocol import Hits, ItemIndex
from towers.model.tie_order import TieOrder

SIZE, DIM, K = 3000, 16, 50
NUM_QUERIES = 40
"""Queries of each test. A graph differs from build to build, so the mean recall of few queries varies by chance."""
COLLECTION = collection_name("conformance-0")
FEATURES = (
    Feature(name="group", kind=FeatureKind.categorical),
    Feature(name="tags", kind=FeatureKind.multi_categorical),
    Feature(name="price", kind=FeatureKind.numeric),
)


@dataclass(frozen=True)
class Subject:
    """An index under test, its event loop, and how much of the exact answer it must find."""

    index: ItemIndex
    loop: asyncio.AbstractEventLoop
    recall: float

    def search(
        self, query_D: np.ndarray, k: int, filter: Filter | None = None, exclude: list[int] | None = None
    ) -> Hits:
        wanted = None if exclude is None else np.array(exclude, dtype=np.int64)
        return self.loop.run_until_complete(self.index.search(query_D, k, filter=filter, exclude=wanted))


def items() -> Catalogue:
    """Items with duplicated vectors among them; group g0 has 1/2, g1 1/20 and g2 1/1000 of the items."""
    groups = np.where(np.arange(SIZE) % 1000 == 7, "g2", np.where(np.arange(SIZE) % 20 == 1, "g1", "g0"))
    table = pa.table(
        {
            "row": pa.array(range(1, SIZE + 1), pa.int32()),
            "item_id": [f"i{i}" for i in range(SIZE)],
            "title": [""] * SIZE,
            "group": groups.tolist(),
            "tags": [["even"] if i % 2 else ["odd", "o\"'dd"] for i in range(SIZE)],
            "price": [None if i % 10 == 0 else float(i) for i in range(SIZE)],
            "train_count": np.ones(SIZE, np.int64),
            "validation_count": np.zeros(SIZE, np.int64),
        }
    )
    vocabularies = {name: Vocabulary(pa.array([], pa.string())) for name in ("group", "tags")}
    return Catalogue("item_id", table, FEATURES, vocabularies)


def vectors() -> np.ndarray:
    """float32 [SIZE, DIM] of unit length; the last 20 items are copies of the first 20; MANY_ALIKE are all alike."""
    found = np.random.default_rng(0).standard_normal((SIZE, DIM)).astype(np.float32)
    found[-20:] = found[:20]
    found[MANY_ALIKE] = found[MANY_ALIKE.start]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


MANY_ALIKE = slice(200, 300)
CATALOGUE, VECTORS, TIES = items(), vectors(), TieOrder.of(SIZE + 1, seed=5)
COLUMNS = FilterColumns(CATALOGUE.table, FEATURES)
PUBLISHED = PublishedItems(
    release_id="r", collection=COLLECTION, num_items=SIZE, dim=DIM, columns=lambda: COLUMNS, ties=TIES
)


def fill(config: IndexConfig) -> None:
    flat = pa.array(VECTORS.reshape(-1))
    table = CATALOGUE.table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, DIM))
    parts = [table.slice(start, 1000) for start in range(0, SIZE, 1000)]
    assert write_collection(config, COLLECTION, parts, FEATURES, DIM) == SIZE


def exact_hits(query_D: np.ndarray, k: int, eligible_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, scores) of exact search among the eligible items, ties in the order of TIES."""
    scores = np.where(eligible_N, VECTORS @ query_D, -np.inf)
    best = TIES.best_first(np.arange(1, SIZE + 1), scores)[: min(k, int(eligible_N.sum()))]
    return best + 1, scores[best]


def check(subject: Subject, hits: Hits, query_D: np.ndarray, k: int, eligible_N: np.ndarray) -> float:
    """What holds for any answer; returns its recall, where an item tied with the last counts as found."""
    rows, scores = exact_hits(query_D, k, eligible_N)
    assert len(hits.rows) == len(rows), "complete: k hits wherever k exist"
    assert len(set(hits.rows.tolist())) == len(hits.rows)
    assert eligible_N[hits.rows - 1].all()
    assert (np.diff(hits.scores) <= 0).all()
    assert hits.scores == pytest.approx(VECTORS[hits.rows - 1] @ query_D, abs=1e-5)
    return float((hits.scores >= scores[-1] - 1e-5).mean()) if len(rows) else 1.0


def queries(count: int) -> np.ndarray:
    found = np.random.default_rng(1).standard_normal((count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)
