"""What every ItemIndex must do, whichever way it keeps the items: exactly, or approximately and complete."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import Filter, parse
from serve.filters.masks import FilterColumns
from serve.index.collection import collection_name, count, list_collections, write_collection
from serve.index.config import Algorithm, IndexConfig, IndexKind
from serve.index.connection import connected
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import Hits, IndexUnavailable, ItemIndex
from serve.index.replica_index import ReplicaIndex

SIZE, DIM, K = 3000, 16, 50
QUERIES = (
    40  # a graph is another one each time it is built: the mean recall of few queries falls now and then by chance
)
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
    """float32 [SIZE, DIM] of unit length; the last 20 items are copies of the first 20."""
    found = np.random.default_rng(0).standard_normal((SIZE, DIM)).astype(np.float32)
    found[-20:] = found[:20]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


CATALOGUE, VECTORS = items(), vectors()
COLUMNS = FilterColumns(CATALOGUE.table, FEATURES)


def fill(config: IndexConfig) -> None:
    flat = pa.array(VECTORS.reshape(-1))
    table = CATALOGUE.table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, DIM))
    parts = [table.slice(start, 1000) for start in range(0, SIZE, 1000)]
    assert write_collection(config, COLLECTION, parts, FEATURES, DIM) == SIZE


OPEN: dict[IndexKind, Callable[[IndexConfig], ItemIndex]] = {
    IndexKind.replica: lambda c: asyncio.run(ReplicaIndex.hydrate(c, COLLECTION, "r", COLUMNS, DIM)),
    IndexKind.milvus: lambda c: MilvusIndex.open(c, COLLECTION, "r", SIZE, DIM),
}


@pytest.fixture(
    scope="module",
    params=[
        ("lite", IndexKind.replica, Algorithm.flat, 200_000, 1.0),
        ("lite", IndexKind.replica, Algorithm.flat, 0, 0.95),  # inverted file
        ("lite", IndexKind.milvus, Algorithm.flat, 0, 1.0),
        ("server", IndexKind.replica, Algorithm.flat, 200_000, 1.0),
        ("server", IndexKind.milvus, Algorithm.flat, 0, 1.0),
        ("server", IndexKind.milvus, Algorithm.hnsw, 0, 0.95),
        ("server", IndexKind.milvus, Algorithm.ivf_flat, 0, 0.95),
    ],
    ids=lambda p: f"{p[0]}-{p[1].value}-{p[2].name}-{'approximate' if p[4] < 1 else 'exact'}",
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    where, kind, algorithm, exact_up_to, recall = request.param
    folder = tmp_path_factory.mktemp("index")
    uri = str(folder / "milvus.db") if where == "lite" else request.getfixturevalue("milvus_server")
    config = IndexConfig(kind=kind, uri=uri, algorithm=algorithm, exact_up_to=exact_up_to, folder=str(folder))
    with connected(config) as client:
        fill(config)
        index, loop = OPEN[kind](config), asyncio.new_event_loop()
        yield Subject(index, loop, recall)
        loop.run_until_complete(index.close())
        loop.close()
        client.drop_collection(COLLECTION, timeout=10)


def exactly(query_D: np.ndarray, k: int, eligible_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, scores) of exact search among the eligible items, ties by lower row."""
    scores = np.where(eligible_N, VECTORS @ query_D, -np.inf)
    best = np.argsort(-scores, kind="stable")[: min(k, int(eligible_N.sum()))]
    return best + 1, scores[best]


def check(subject: Subject, hits: Hits, query_D: np.ndarray, k: int, eligible_N: np.ndarray) -> float:
    """What holds for any answer; returns its recall, where an item tied with the last counts as found."""
    rows, scores = exactly(query_D, k, eligible_N)
    assert len(hits.rows) == len(rows), "complete: k hits wherever k exist"
    assert len(set(hits.rows.tolist())) == len(hits.rows)
    assert eligible_N[hits.rows - 1].all()
    assert (np.diff(hits.scores) <= 0).all()
    assert hits.scores == pytest.approx(VECTORS[hits.rows - 1] @ query_D, abs=1e-5)
    return float((hits.scores >= scores[-1] - 1e-5).mean()) if len(rows) else 1.0


def queries(count: int) -> np.ndarray:
    found = np.random.default_rng(1).standard_normal((count, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_finds_what_exact_search_finds(subject: Subject) -> None:
    everything = np.ones(SIZE, dtype=bool)
    recalls = [check(subject, subject.search(q, K), q, K, everything) for q in queries(QUERIES)]
    assert np.mean(recalls) >= subject.recall


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "group", "op": "==", "value": "g0"},
        {"field": "group", "op": "==", "value": "g1"},
        {"field": "group", "op": "==", "value": "g2"},
        {"field": "group", "op": "==", "value": "nobody"},
        {"field": "tags", "op": "contains", "value": "o\"'dd"},
        {"field": "price", "op": "<", "value": 500},
        {"not": {"field": "price", "op": "<", "value": 2900}},
        {"all": [{"field": "tags", "op": "contains", "value": "odd"}, {"field": "price", "op": ">=", "value": 100}]},
    ],
)
def test_filtered_answers_are_complete(subject: Subject, condition: dict) -> None:
    filter = parse(condition, FEATURES)
    eligible = COLUMNS.mask(filter)
    recalls = [check(subject, subject.search(q, K, filter), q, K, eligible) for q in queries(QUERIES)]
    assert np.mean(recalls) >= subject.recall


@pytest.mark.parametrize("number", [1, 40, 1000])
def test_excluded_items_do_not_come_and_their_places_are_filled(subject: Subject, number: int) -> None:
    recalls = []
    for query in queries(QUERIES):
        best, _ = exactly(query, number, np.ones(SIZE, dtype=bool))
        eligible = np.ones(SIZE, dtype=bool)
        eligible[best - 1] = False
        recalls.append(check(subject, subject.search(query, K, exclude=best.tolist()), query, K, eligible))
    assert np.mean(recalls) >= subject.recall


def test_searches_at_the_same_time_find_what_each_finds_alone(subject: Subject) -> None:
    """With other filters and exclusions, of other lengths."""
    cheap = parse({"field": "price", "op": "<", "value": 500}, FEATURES)
    rare = parse({"field": "group", "op": "==", "value": "g2"}, FEATURES)
    asked = [(q, k, f, [k]) for q, k, f in zip(queries(6), (5, 9, 70, 1, 20, 3), (None, cheap, rare) * 2, strict=True)]

    async def together() -> list[Hits]:
        searches = (subject.index.search(q, k, filter=f, exclude=np.array(e)) for q, k, f, e in asked)
        return await asyncio.gather(*searches)

    found = []
    for hits, one in zip(subject.loop.run_until_complete(together()), asked, strict=True):
        alone = subject.search(*one)
        assert len(hits.rows) == len(alone.rows)
        if subject.recall == 1:
            assert hits.rows.tolist() == alone.rows.tolist()
        found.append(hits.scores >= alone.scores[-1:] - 1e-5)
    # A server goes on merging segments, and finds others then.
    assert np.concatenate(found).mean() >= subject.recall


def test_the_exact_search_is_exact(subject: Subject) -> None:
    filter = parse({"field": "group", "op": "==", "value": "g1"}, FEATURES)
    eligible = COLUMNS.mask(filter)
    for query in queries(5):
        hits = subject.loop.run_until_complete(subject.index.exactly(query, K, filter=filter))
        assert check(subject, hits, query, K, eligible) == 1.0
    assert subject.index.passing(filter) in (None, pytest.approx(eligible.mean()))


def test_filter_and_exclusion_together(subject: Subject) -> None:
    (query,) = queries(1)
    filter = parse({"field": "group", "op": "==", "value": "g2"}, FEATURES)
    eligible = COLUMNS.mask(filter).copy()
    eligible[7] = False
    assert subject.search(query, K, filter, exclude=[8]).rows.tolist() == exactly(query, K, eligible)[0].tolist()


def test_ties_go_to_the_lower_row(subject: Subject) -> None:
    hits = subject.search(VECTORS[3], 2)
    assert hits.rows.tolist() == [4, SIZE - 20 + 4]


def test_more_than_there_is(subject: Subject) -> None:
    (query,) = queries(1)
    assert len(subject.search(query, SIZE + 100).rows) == SIZE


def test_nothing_eligible_is_an_empty_answer(subject: Subject) -> None:
    hits = subject.search(VECTORS[0], K, exclude=list(range(1, SIZE + 1)))
    assert (hits.rows.tolist(), hits.scores.tolist()) == ([], [])


def test_vectors_come_back_as_written(subject: Subject) -> None:
    rows = np.array([5, 1, SIZE])
    found = subject.loop.run_until_complete(subject.index.vectors(rows))
    assert found == pytest.approx(VECTORS[rows - 1], abs=1e-6)


@pytest.mark.parametrize("query", [np.zeros(DIM + 1, np.float32), np.full(DIM, np.nan, np.float32)])
def test_a_query_that_is_none_is_refused(subject: Subject, query: np.ndarray) -> None:
    with pytest.raises(ValueError, match="query vector"):
        subject.search(query, 1)


@pytest.mark.parametrize("where", ["lite", "server"])
def test_a_collection_is_whole_or_not_there(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    uri = str(tmp_path / "milvus.db") if where == "lite" else request.getfixturevalue("milvus_server")
    config, fewer = IndexConfig(uri=uri), FilterColumns(CATALOGUE.table[:100], FEATURES)

    def dies_on_the_way() -> Iterator[pa.Table]:
        flat = pa.array(VECTORS[:10].reshape(-1))
        yield CATALOGUE.table[:10].append_column("vector", pa.FixedSizeListArray.from_arrays(flat, DIM))
        raise RuntimeError("the tower died")

    with connected(config) as client:
        with pytest.raises(RuntimeError, match="the tower died"):
            write_collection(config, COLLECTION, dies_on_the_way(), FEATURES, DIM)
        assert COLLECTION not in list_collections(client, config)
        fill(config)
        fill(config)  # again, over a leftover
        assert count(client, config, COLLECTION) == SIZE
        with pytest.raises(IndexUnavailable, match="holds row"):
            asyncio.run(ReplicaIndex.hydrate(config, COLLECTION, "r", fewer, DIM))
        client.drop_collection(COLLECTION, timeout=10)
        with pytest.raises(IndexUnavailable, match="publish"):
            asyncio.run(ReplicaIndex.hydrate(config, COLLECTION, "r", COLUMNS, DIM))
        with pytest.raises(IndexUnavailable, match="publish"):
            MilvusIndex.open(config, COLLECTION, "r", SIZE, DIM)
