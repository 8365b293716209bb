"""The endpoint over HTTP, in both topologies and with both back ends: it answers what offline evaluation answers."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from serve.batch.config import RecommendConfig
from serve.batch.recommendations import recommend
from serve.client import EndpointError, RecommendClient
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig, Topology
from serve.events.config import EventsConfig
from serve.releases.release import Release
from tests.serve.waiting import PATIENT
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.ranking import Ranking, embed, rerank, retrieve
from towers.model.tie_order import most_popular

SMALL = ScaleConfig(num_cpus=0.1)
SAMPLE = 60


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((Topology.fused, "replica"), id="fused-replica"),
        pytest.param((Topology.staged, "replica"), id="staged-replica", marks=pytest.mark.slow),
        pytest.param((Topology.fused, "milvus"), id="fused-milvus", marks=pytest.mark.slow),
    ],
)
def address(
    request: pytest.FixtureRequest, tiny: Config, release: Release, own_events: EventsConfig, free_port: int
) -> Iterator[str]:
    topology, kind = request.param
    scales = dict.fromkeys(("ingress", "embedder", "retriever", "reranker"), SMALL)
    served = replace(tiny.serve, topology=topology, port=free_port, **PATIENT, **scales)
    index = replace(tiny.index, kind=kind)
    with running_endpoint(replace(tiny, serve=served, events=own_events, index=index)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[RecommendClient]:
    with RecommendClient(address, timeout_s=30) as client:
        yield client


@pytest.fixture(scope="module")
def offline(release: Release) -> tuple[np.ndarray, Ranking]:
    """Exact retrieval and re-ranking of a sample of all users, unknown ones among them, with the release's parts."""
    parts = release.parts
    users = np.linspace(1, parts.users.table.num_rows, SAMPLE).astype(np.int32)
    queries = HeldOut(users, (np.zeros(0, np.int64), np.zeros(0, np.int64)), parts.seen)
    vectors = embed(parts.model, queries, batch_size=64)
    found = retrieve(vectors, queries, parts.counts_I, parts.item_vectors_ID, batch_size=64, ties=parts.ties)
    return users, rerank(parts.reranker, vectors, found, queries, batch_size=64, ties=parts.ties)


def test_the_endpoint_answers_what_offline_ranking_answers(
    client: RecommendClient, release: Release, offline: tuple[np.ndarray, Ranking]
) -> None:
    users, ranking = offline
    sources = set()
    for row, rows_K, scores_K in zip(users, ranking.rows_QK, ranking.scores_QK, strict=True):
        (user_id,) = release.parts.users.ids.ids(np.array([row])).to_pylist()
        answer = client.recommend(user_id=user_id, k=10)
        wanted = release.parts.items.ids.ids(rows_K[:10]).to_pylist()
        assert not answer.degraded, answer.reasons
        assert [item.id for item in answer.items] == wanted
        assert [item.score for item in answer.items] == pytest.approx(scores_K[:10].tolist(), abs=1e-3)
        sources.add(answer.source.value)
    assert sources == {"towers", "popular"}


@pytest.mark.slow
def test_batch_inference_answers_what_the_endpoint_answers(
    client: RecommendClient, release: Release, tiny: Config
) -> None:
    storage = Folder.of(tiny.storage.root)
    folder = recommend(RecommendConfig(k=10), release.id, tiny.serve.num_candidates, storage)
    rows = folder.read_table("part-00000.parquet").to_pylist()
    for row in rows[:: len(rows) // SAMPLE]:
        answer = client.recommend(user_id=row["user_id"], k=10)
        assert ([item.id for item in answer.items], answer.source.value) == (row["item_ids"], row["source"])
        assert [item.score for item in answer.items] == pytest.approx(row["scores"], abs=1e-3)


def test_what_a_request_comes_with_is_what_the_evaluation_took_it_for(
    client: RecommendClient, release: Release, dataset: PreparedDataset
) -> None:
    """The test part's queries, each with what the user's first interaction in it came with."""
    parts, held_out = release.parts, queries_of(dataset)
    vectors = embed(parts.model, held_out, batch_size=64)
    found = retrieve(vectors, held_out, parts.counts_I, parts.item_vectors_ID, batch_size=64, ties=parts.ties)
    ranking = rerank(parts.reranker, vectors, found, held_out, batch_size=64, ties=parts.ties)
    others = set()
    for query in np.flatnonzero(ranking.by_towers_Q)[:SAMPLE]:
        (user_id,) = parts.users.ids.ids(held_out.user_rows_Q[[query]]).to_pylist()
        assert held_out.context_Q is not None
        (daypart,) = held_out.context_Q[query].as_py()
        answer = client.recommend(user_id=user_id, k=10, context={"daypart": daypart, "mood": "good"})
        assert not answer.degraded, answer.reasons
        assert [item.id for item in answer.items] == parts.items.ids.ids(ranking.rows_QK[query, :10]).to_pylist()
        assert answer.unknown_context == ["mood"]
        others.add(client.recommend(user_id=user_id, k=10).items == answer.items)
    assert others != {True}, "it makes a difference"


def test_an_unknown_user_gets_popular_items(client: RecommendClient, release: Release) -> None:
    answer = client.recommend(user_id="nobody", k=5)
    best = most_popular(release.parts.counts_I, release.parts.ties)[:5]
    assert [item.id for item in answer.items] == release.parts.items.ids.ids(best).to_pylist()
    assert (answer.source, answer.degraded) == ("popular", False)


def test_a_history_in_the_request_speaks_for_an_unknown_user(client: RecommendClient, release: Release) -> None:
    history = release.parts.items.ids.ids(release.parts.seen.items_N[:3]).to_pylist()
    answer = client.recommend(history=history, k=10)
    assert answer.source == "towers"
    assert not {item.id for item in answer.items} & set(history)


def test_filters_hold_and_are_complete(client: RecommendClient, release: Release, known_user: str) -> None:
    genre = release.parts.items.table["genres"].combine_chunks().flatten()[0].as_py()
    condition = {"field": "genres", "op": "contains", "value": genre}
    eligible = sum(genre in genres for genres in release.parts.items.table["genres"].to_pylist())
    answer = client.recommend(user_id=known_user, k=100, filter=condition, exclude_seen=False)
    assert all(genre in item.features["genres"] for item in answer.items)
    assert len(answer.items) == min(eligible, 100)


def test_seen_and_excluded_items_do_not_come(client: RecommendClient, release: Release, known_user: str) -> None:
    first = client.recommend(user_id=known_user, k=5)
    excluded = [item.id for item in first.items]
    second = client.recommend(user_id=known_user, k=100, exclude=excluded)
    row = release.parts.users.ids.row(known_user)
    seen = release.parts.items.ids.ids(release.parts.seen.of_user(row)).to_pylist()
    assert not {item.id for item in second.items} & {*excluded, *seen}


def test_similar_items(client: RecommendClient, release: Release) -> None:
    item_ID = release.parts.item_vectors_ID.numpy()
    scores = item_ID @ item_ID[1]
    wanted = [row for row in np.argsort(-scores, kind="stable") if row not in (0, 1)][:5]
    answer = client.similar(release.parts.items.ids.ids(np.array([1]))[0].as_py(), k=5)
    assert [item.score for item in answer.items] == pytest.approx(scores[wanted].tolist(), abs=1e-4)


def test_similar_to_several_items(client: RecommendClient, release: Release) -> None:
    item_ID = release.parts.item_vectors_ID.numpy()
    scores = item_ID @ item_ID[[1, 2]].mean(0)
    wanted = [row for row in np.argsort(-scores, kind="stable") if row not in (0, 1, 2)][:5]
    ids = release.parts.items.ids.ids(np.array([1, 2, *wanted])).to_pylist()
    answer = client.similar_to(item_ids=[*ids[:2], "what"], k=5)
    assert ([item.id for item in answer.items], answer.unknown_items) == (ids[2:], ["what"])


def test_similar_to_an_item_of_no_catalogue(client: RecommendClient, release: Release) -> None:
    """Described by the features of an item that has no training data, and so by all that the tower knows of it."""
    parts = release.parts
    row = int(np.flatnonzero(parts.counts_I[1:] == 0)[0]) + 1
    features = {f.name: parts.items.table[f.name][row - 1].as_py() for f in parts.items.features}
    answer = client.similar_to(features=features, k=1)
    assert (answer.items[0].id, answer.items[0].score) == (
        parts.items.ids.ids(np.array([row]))[0].as_py(),
        pytest.approx(1, abs=1e-4),
    )


def test_a_batch_is_answered_as_each_alone(client: RecommendClient, release: Release) -> None:
    ids = release.parts.users.ids.values.to_pylist()[:20]
    together = client.recommend_batch([{"user_id": id_, "k": 5} for id_ in ids])
    for id_, answer in zip(ids, together, strict=True):
        alone = client.recommend(user_id=id_, k=5)
        assert [item.id for item in answer.items] == [item.id for item in alone.items]


def test_an_explanation_says_where_each_item_comes_from(
    client: RecommendClient, release: Release, known_user: str
) -> None:
    condition = {"field": "year", "op": ">", "value": 0}
    answer = client.recommend(user_id=known_user, k=5, explain=True, filter=condition)
    assert answer.explained is not None
    assert (answer.explained.filter, answer.explained.num_candidates > 4) == (condition, True)
    assert answer.explained.num_excluded > 0
    for item in answer.items:
        assert item.explanation is not None
        assert item.explanation.rerank_score == pytest.approx(item.score)
        row, near = release.parts.items.ids.row(item.id), item.explanation.nearest_history[0]
        item_ID = release.parts.item_vectors_ID.numpy()
        assert near.cosine == pytest.approx(
            float(item_ID[row] @ item_ID[release.parts.items.ids.row(near.id)]), abs=1e-4
        )
    ranks = sorted(item.explanation.retrieval_rank for item in answer.items if item.explanation)
    assert ranks[0] >= 1
    assert len(set(ranks)) == 5


def test_live_health_and_request_id(client: RecommendClient, address: str, release: Release) -> None:
    assert client.live().release_id == release.id
    assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{address}/readyz").json()["release_id"] == release.id
    answer = httpx.post(f"{address}/v1/recommend", json={"k": 1}, headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"] == "mine"
    examples = httpx.get(f"{address}/openapi.json").json()["components"]["schemas"]["RecommendRequest"]["examples"]
    assert examples[0]["user_id"]


def test_a_hostile_filter_value_is_only_a_value(client: RecommendClient) -> None:
    hostile = 'x" or row > 0 or f_studio == "'
    answer = client.recommend(k=10, filter={"field": "studio", "op": "==", "value": hostile})
    assert answer.items == []


def test_an_unknown_item_is_404(client: RecommendClient) -> None:
    with pytest.raises(EndpointError, match="404.*'no/such item'") as caught:
        client.similar("no/such item")
    assert caught.value.status == 404


def test_ids_that_the_release_does_not_know_are_reported(client: RecommendClient) -> None:
    assert client.recommend(history=["what"], exclude=["ever"], k=1).unknown_items == ["what", "ever"]
