"""What every ItemIndex must do, whichever way it keeps the items: exactly, or approximately and complete."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet

from serve.filters.grammar import parse
from serve.index.backends import INDEX_BACKENDS
from serve.index.config import Algorithm, IndexConfig
from serve.index.connection import connected
from serve.index.protocol import Hits
from tests.conformance.indexed_items import (
    COLLECTION,
    COLUMNS,
    DIM,
    FEATURES,
    MANY_ALIKE,
    NUM_QUERIES,
    PUBLISHED,
    SIZE,
    TIES,
    VECTORS,
    K,
    Subject,
    check,
    exact_hits,
    fill,
    queries,
)


def subject_of(where: str, kind: str, algorithm: Algorithm, exact_up_to: int, recall: float) -> ParameterSet:
    """What is tested: an index over Milvus Lite or over a server (slow), and the least recall that it may have."""
    quality = "approximate" if recall < 1 else "exact"
    marks = pytest.mark.slow if where == "server" else ()
    parameters = (where, kind, algorithm, exact_up_to, recall)
    return pytest.param(parameters, id=f"{where}-{kind}-{algorithm.name}-{quality}", marks=marks)


@pytest.fixture(
    scope="module",
    params=[
        subject_of("lite", "replica", Algorithm.flat, 200_000, 1.0),
        subject_of("lite", "replica", Algorithm.flat, 0, 0.95),  # inverted file
        subject_of("lite", "milvus", Algorithm.flat, 0, 1.0),
        subject_of("server", "replica", Algorithm.flat, 200_000, 1.0),
        subject_of("server", "milvus", Algorithm.flat, 0, 1.0),
        subject_of("server", "milvus", Algorithm.hnsw, 0, 0.95),
        subject_of("server", "milvus", Algorithm.ivf_flat, 0, 0.95),
    ],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    where, kind, algorithm, exact_up_to, recall = request.param
    folder = tmp_path_factory.mktemp("index")
    uri = str(folder / "milvus.db") if where == "lite" else request.getfixturevalue("milvus_server")
    config = IndexConfig(kind=kind, uri=uri, algorithm=algorithm, exact_up_to=exact_up_to, folder=str(folder))
    with connected(config) as client:
        fill(config)
        index, loop = asyncio.run(INDEX_BACKENDS[kind](config, PUBLISHED)), asyncio.new_event_loop()
        yield Subject(index, loop, recall)
        loop.run_until_complete(index.close())
        loop.close()
        client.drop_collection(COLLECTION, timeout=10)


def test_finds_what_exact_search_finds(subject: Subject) -> None:
    everything = np.ones(SIZE, dtype=bool)
    recalls = [check(subject, subject.search(q, K), q, K, everything) for q in queries(NUM_QUERIES)]
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
    recalls = [check(subject, subject.search(q, K, filter), q, K, eligible) for q in queries(NUM_QUERIES)]
    assert np.mean(recalls) >= subject.recall


@pytest.mark.parametrize("number", [1, 40, 1000])
def test_excluded_items_do_not_come_and_their_places_are_filled(subject: Subject, number: int) -> None:
    recalls = []
    for query in queries(NUM_QUERIES):
        best, _ = exact_hits(query, number, np.ones(SIZE, dtype=bool))
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


def test_after_a_search_its_filter_is_prepared(subject: Subject) -> None:
    filter = parse({"field": "price", "op": ">", "value": 17}, FEATURES)
    subject.search(queries(1)[0], K, filter)
    assert subject.index.is_prepared(filter)


def test_the_exact_search_is_exact(subject: Subject) -> None:
    filter = parse({"field": "group", "op": "==", "value": "g1"}, FEATURES)
    eligible = COLUMNS.mask(filter)
    for query in queries(5):
        hits = subject.loop.run_until_complete(subject.index.search_exact(query, K, filter=filter))
        assert check(subject, hits, query, K, eligible) == 1.0
    assert subject.index.selectivity(filter) in (None, pytest.approx(eligible.mean()))


def test_filter_and_exclusion_together(subject: Subject) -> None:
    (query,) = queries(1)
    filter = parse({"field": "group", "op": "==", "value": "g2"}, FEATURES)
    eligible = COLUMNS.mask(filter).copy()
    eligible[7] = False
    assert subject.search(query, K, filter, exclude=[8]).rows.tolist() == exact_hits(query, K, eligible)[0].tolist()


def test_ties_follow_the_order_of_the_release(subject: Subject) -> None:
    for entry in range(10):
        pair = {entry + 1, SIZE - 20 + entry + 1}
        assert subject.search(VECTORS[entry], 2).rows.tolist() == [row for row in TIES.rows_I.tolist() if row in pair]


@pytest.mark.parametrize("k", [1, 30, 99])
@pytest.mark.parametrize("num_excluded", [0, 5])
def test_a_tie_that_goes_on_behind_the_last_place_is_decided_by_the_order(
    subject: Subject, k: int, num_excluded: int
) -> None:
    """A hundred items have the same vector, more than any margin."""
    alike = set(range(MANY_ALIKE.start + 1, MANY_ALIKE.stop + 1))
    ordered = [row for row in TIES.rows_I.tolist() if row in alike]
    hits = subject.search(VECTORS[MANY_ALIKE.start], k, exclude=ordered[:num_excluded])
    if subject.index.approximate:  # it may miss some of them, and is right all the same if those it finds are in order
        found = [row for row in hits.rows.tolist() if row in alike]
        assert found == [row for row in ordered[num_excluded:] if row in set(found)]
        return
    wanted = ordered[num_excluded:][:k]
    assert hits.rows[: len(wanted)].tolist() == wanted


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
