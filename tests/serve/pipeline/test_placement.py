"""Where nothing is known of a user or an item, popular items come: in evaluation, in the stages, in a whole request."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.sequences.histories import Sequences
from serve.filters.masks import FilterColumns
from serve.index.faiss_files import FaissIndexes
from serve.index.replica_index import ReplicaIndex
from serve.pipeline.breaker import CircuitBreaker
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.fallback import PopularFallback
from serve.pipeline.messages import Query, Response, SimilarQuery
from serve.pipeline.request import STAGES, recommend, similar
from serve.pipeline.reranker import RerankStage
from serve.pipeline.retriever import Retriever
from serve.pipeline.source import Source
from serve.pipeline.user_encoder import KnownUser, UserEncoder
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.tie_order import most_popular


@dataclass
class World:
    """A checkpoint's stages in this process; an item row that has training data, and some of which nothing is known."""

    parts: Checkpoint
    known: int
    nameless: list[int]

    def recommend(self, user_id: str | None, history: list[int]) -> Response:
        query = Query(release_id="r", user_id=user_id, k=5, num_candidates=20, history=tuple(history), context=(0,))
        return asyncio.run(recommend(query, *self._stages()))

    def similar(self, **fields: Any) -> Response:
        return asyncio.run(similar(SimilarQuery(release_id="r", k=5, **fields), *self._stages()))

    def _stages(self) -> tuple[Any, PopularFallback, BudgetLimits]:
        parts = self.parts
        columns = FilterColumns(parts.items.table, parts.items.features)
        indexes = FaissIndexes.of(parts.item_vectors_ID[1:].numpy(), 10**6)
        retriever = Retriever(
            "r", ReplicaIndex("r", indexes, columns, parts.ties), None, parts.model.item_places_N.numpy()
        )
        encoder = UserEncoder("r", parts)

        @dataclass
        class Stages:
            embed, describe = encoder, encoder.describe
            retrieve, similar, nearest = retriever, retriever.similar, retriever.nearest
            rerank = RerankStage("r", parts)

        limits = BudgetLimits(10, 10, {stage: CircuitBreaker(3, 60) for stage in STAGES})
        return Stages(), PopularFallback("r", parts, columns), limits


@pytest.fixture
def world(checkpoint: Checkpoint) -> Iterator[World]:
    """Two items are made to have neither training data nor known features."""
    parts = open_checkpoint(checkpoint.folder)
    nameless = [3, 4]
    for mask_N in (parts.model.item_places_N, parts.model.item_ids.known_N):
        mask_N[nameless] = False
    known = int(parts.model.item_ids.known_N.nonzero()[0])
    return World(parts, known, nameless)


def test_a_history_of_items_of_which_nothing_is_known_gets_popular_items(world: World) -> None:
    found = world.recommend(None, world.nameless)
    best = [row for row in most_popular(world.parts.counts_I, world.parts.ties).tolist() if row not in world.nameless]
    assert (found.source, found.degraded, found.reasons) == (Source.popular, False, [])
    assert found.rows == best[:5]


@pytest.mark.parametrize("user_id", [None, "nobody"])
def test_one_known_item_of_the_history_is_enough(world: World, user_id: str | None) -> None:
    found = world.recommend(user_id, [*world.nameless, world.known])
    assert (found.source, found.degraded) == (Source.towers, False)


def test_the_stage_and_the_evaluation_say_the_same(world: World) -> None:
    """For every user of the log, with a history of each kind."""
    parts, rows = world.parts, np.arange(len(world.parts.users.ids), dtype=np.int32)
    parts.model.places_by_features = True
    for history in ([], world.nameless, [world.nameless[0], world.known]):
        pairs = pa.table({"user_row": np.repeat(rows, len(history)), "item_row": np.tile(history, len(rows))})
        seen = Sequences.of(pairs.cast(pa.schema([("user_row", pa.int32()), ("item_row", pa.int32())])), len(rows))
        nothing = np.zeros(0, np.int64)
        known_Q = embed(parts.model, HeldOut(rows, (nothing, nothing), seen), 64).known_Q
        vectors = UserEncoder("r", parts).vectors(
            [KnownUser(row, np.array(history, np.int64)) for row in rows.tolist()]
        )
        assert [vector is not None for vector in vectors] == known_Q.tolist()
        assert len(set(known_Q.tolist())) == (2 if history in ([], world.nameless) else 1)


def test_without_a_history_encoder_items_make_nobody_known(world: World) -> None:
    """In evaluation, in the user encoder, and in a whole request: the vector is the same whichever the items are."""
    model = world.parts.model
    model.history, model.config = None, replace(model.config, history="none")
    num_users, known = len(world.parts.users.ids), world.known
    user = int(model.user_ids.known_N.nonzero()[0])
    rows = np.array([0, user], dtype=np.int32)
    pairs = pa.table({"user_row": pa.array(rows), "item_row": pa.array([known, known], pa.int32())})
    nothing = np.zeros(0, np.int64)
    held_out = HeldOut(rows, (nothing, nothing), Sequences.of(pairs, num_users))
    assert embed(model, held_out, 64).known_Q.tolist() == [False, True]
    encoder = UserEncoder("r", world.parts)
    histories = [KnownUser(row, np.array([known], np.int64)) for row in rows.tolist()]
    assert [vector is not None for vector in encoder.vectors(histories)] == [False, True]
    assert world.recommend(None, [known]).source == Source.popular
    assert world.recommend(world.parts.users.ids.values[user - 1].as_py(), [known]).source == Source.towers


@pytest.mark.parametrize("by_features", [True, False])
def test_a_cold_user_with_features_is_placed_as_the_checkpoint_decided(world: World, by_features: bool) -> None:
    model, parts = world.parts.model, world.parts
    model.places_by_features = by_features
    is_empty_U = torch.from_numpy(parts.seen.lengths_U == 0)
    cold = (model.user_described_N & ~model.user_ids.known_N & is_empty_U).nonzero().flatten()
    assert len(cold)
    (user_id,) = parts.users.ids.ids(cold[:1].numpy()).to_pylist()
    found = world.recommend(user_id, [])
    assert (found.source, found.degraded) == (Source.towers if by_features else Source.popular, False)


def test_items_near_one_of_which_nothing_is_known_are_popular_ones(world: World) -> None:
    found = world.similar(rows=tuple(world.nameless))
    assert (found.source, found.degraded, found.reasons) == (Source.popular, False, [])
    assert not set(found.rows) & set(world.nameless)
    one, both = (world.similar(rows=rows, exclude=tuple(world.nameless)) for rows in ((5,), (5, world.nameless[0])))
    assert one.source is both.source is Source.towers
    assert one.rows == both.rows, "it does not move the others"


def test_features_that_no_item_was_trained_with_describe_nothing(world: World) -> None:
    genre = world.parts.items.table["genres"][4].as_py()[0]
    unknown, known = (world.similar(features={"genres": [value]}) for value in ("no such genre", genre))
    assert (unknown.source, unknown.degraded) == (Source.popular, False)
    assert (known.source, known.degraded) == (Source.towers, False)


def test_ties_in_the_index_and_in_popular_items_follow_the_release(world: World) -> None:
    parts = replace(world.parts, popularity_I=np.ones_like(world.parts.counts_I))
    columns = FilterColumns(parts.items.table, parts.items.features)
    top = PopularFallback("r", parts, columns).top(7, None, np.zeros(0, np.int64)).rows_K
    assert top.tolist() == parts.ties.rows_I[1:8].tolist() != list(range(1, 8))
