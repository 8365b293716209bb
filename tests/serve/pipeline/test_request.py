"""One request through the stages, when stages are late or fail: always an answer, and the reason in it.

The stages here are stand-ins, for faults that the real ones cannot be made to have.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from serve.filters.masks import FilterColumns
from serve.index.protocol import IndexUnavailable
from serve.pipeline.breaker import CircuitBreaker, State
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.fallback import PopularFallback
from serve.pipeline.messages import Candidates, Query, Ranked, Response, UserVector, WrongRelease, check_same_release
from serve.pipeline.request import STAGES, recommend
from serve.pipeline.source import Source
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint

Fault = Callable[[], Awaitable[None]]


async def fine() -> None:
    pass


async def sleeps() -> None:
    await asyncio.sleep(5)


async def dies() -> None:
    raise IndexUnavailable("index.uri: gone")


@dataclass
class Stages:
    """Answers items 1, 2, 3, re-ranked to 3, 2, 1, after each stage's fault."""

    embedding: Fault = fine
    retrieving: Fault = fine
    reranking: Fault = fine

    async def embed(self, query: Query) -> UserVector:
        await self.embedding()
        return UserVector("r", np.ones(4, np.float32), np.array([7]))

    async def retrieve(self, query: Query, user: UserVector) -> Candidates:
        await self.retrieving()
        return Candidates("r", np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7]), Source.towers)

    async def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Ranked:
        await self.reranking()
        return Ranked("r", np.array([3, 2, 1]), np.array([3.0, 2.0, 1.0]))


@pytest.fixture(scope="module")
def fallback(checkpoint: Checkpoint) -> PopularFallback:
    return PopularFallback("r", checkpoint, FilterColumns(checkpoint.items.table, checkpoint.items.features))


def answer(
    fallback: PopularFallback,
    stages: Stages,
    limits: BudgetLimits | None = None,
    k: int = 2,
    state: Fault | None = None,
    **fields: Any,
) -> Response:
    query = Query(release_id="r", user_id="u", k=k, num_candidates=100, **fields)

    async def read_state() -> tuple[Query, PopularFallback]:
        assert state is not None
        await state()
        return replace(query, k=1), fallback

    return asyncio.run(recommend(query, stages, fallback, limits or waiting(), read_state if state else None))


def waiting(timeout_s: float = 0.1, min_stage_s: float = 0.05, **stage_s: float) -> BudgetLimits:
    breakers = {stage: CircuitBreaker(3, 60) for stage in STAGES}
    return BudgetLimits(timeout_s, min_stage_s, breakers, stage_s=stage_s)


def test_all_well(fallback: PopularFallback) -> None:
    found = answer(fallback, Stages())
    assert (found.rows, found.scores) == ([3, 2], [3.0, 2.0])
    assert (found.source, found.degraded, found.reasons) == (Source.towers, False, [])
    assert list(found.timings_ms) == ["embed", "retrieve", "rerank"]


@pytest.mark.parametrize(("fault", "reason"), [(sleeps, "rerank_late"), (dies, "rerank_failed")])
def test_without_the_reranker_retrieval_order(fallback: PopularFallback, fault: Fault, reason: str) -> None:
    found = answer(fallback, Stages(reranking=fault))
    assert (found.rows, found.source, found.degraded, found.reasons) == ([1, 2], Source.towers, True, [reason])


@pytest.mark.parametrize(("fault", "reason"), [(sleeps, "retrieve_late"), (dies, "retrieve_failed")])
def test_without_retrieval_popular_items(fallback: PopularFallback, fault: Fault, reason: str) -> None:
    best = fallback.top(3, None, np.zeros(0, np.int64)).rows_K
    found = answer(fallback, Stages(retrieving=fault), exclude=(int(best[0]),))
    assert (found.rows, found.source, found.reasons) == (best[1:].tolist(), Source.popular, [reason])


@pytest.mark.parametrize(("fault", "reason"), [(sleeps, "embed_late"), (dies, "embed_failed")])
def test_without_a_user_vector_popular_items_without_the_history(
    fallback: PopularFallback, fault: Fault, reason: str
) -> None:
    best = fallback.top(3, None, np.zeros(0, np.int64)).rows_K
    found = answer(fallback, Stages(embedding=fault), history=(int(best[1]),))
    assert (found.rows, found.source, found.reasons) == ([best[0], best[2]], Source.popular, [reason])


def test_short_retrieval_is_filled_up_with_popular_items(fallback: PopularFallback) -> None:
    found = answer(fallback, Stages(), k=5)
    best = [row for row in fallback.top(10, None, np.array([7])).rows_K if row not in (1, 2, 3)]
    assert (found.rows, found.source, found.reasons) == ([3, 2, 1, *best[:2]], Source.towers, ["retrieve_short"])


def test_a_stage_that_keeps_failing_is_left_alone(fallback: PopularFallback) -> None:
    limits, calls = waiting(), []

    async def dies_counted() -> None:
        calls.append(1)
        await dies()

    found = [answer(fallback, Stages(reranking=dies_counted), limits).reasons for _ in range(5)]
    assert found == 3 * [["rerank_failed"]] + 2 * [["rerank_skipped"]]
    assert len(calls) == 3


def test_a_client_in_a_hurry_does_not_bring_a_stage_down(fallback: PopularFallback) -> None:
    """It is late for a deadline of a millisecond, which says nothing about the stage."""
    limits = waiting(timeout_s=0.001, min_stage_s=4)
    for _ in range(10):
        assert answer(fallback, Stages(retrieving=sleeps), limits).reasons == ["retrieve_late"]
    assert limits.breakers["retrieve"].state is State.closed


def test_a_client_in_a_hurry_is_not_each_time_the_one_that_finds_out(fallback: PopularFallback) -> None:
    """Its request after the pause is the trial; the next one has all its time for popular items."""
    limits = waiting(timeout_s=0.001, min_stage_s=4)
    opened = CircuitBreaker(1, 0.02)
    opened.record_failure()
    limits = replace(limits, breakers={**limits.breakers, "retrieve": opened})
    time.sleep(0.02)
    found = [answer(fallback, Stages(retrieving=sleeps), limits).reasons for _ in range(2)]
    assert found == [["retrieve_late"], ["retrieve_skipped"]]


def test_the_state_of_the_user_changes_the_query(fallback: PopularFallback) -> None:
    found = answer(fallback, Stages(), state=fine)
    assert (found.rows, found.degraded) == ([3], False)
    assert next(iter(found.timings_ms)) == "state"


@pytest.mark.parametrize(("fault", "reason"), [(sleeps, "state_late"), (dies, "state_failed")])
def test_without_the_state_the_releases_history(fallback: PopularFallback, fault: Fault, reason: str) -> None:
    """A late state takes its share of the time and leaves the rest to the stages; it is soon left alone."""
    limits = waiting(timeout_s=5, min_stage_s=2.5, state=0.02)
    found = [answer(fallback, Stages(), limits, state=fault) for _ in range(4)]
    assert [one.rows for one in found] == 4 * [[3, 2]]
    assert [one.reasons for one in found] == 3 * [[reason]] + [["state_skipped"]]


def test_a_late_state_leaves_time_to_the_stages_of_a_short_request_and_counts(fallback: PopularFallback) -> None:
    """The store may take longer, by the config, than the whole request."""
    limits = waiting(timeout_s=0.6, min_stage_s=2.5, state=1.0)
    found = [answer(fallback, Stages(), limits, state=sleeps) for _ in range(4)]
    assert [one.rows for one in found] == 4 * [[3, 2]], "by the towers, not what is popular"
    assert [one.reasons for one in found] == 3 * [["state_late"]] + [["state_skipped"]]


def test_a_client_in_a_hurry_does_not_bring_the_state_down(fallback: PopularFallback) -> None:
    """The store has had next to no time."""
    limits = waiting(timeout_s=0.05, min_stage_s=2.5, state=1.0)
    found = [answer(fallback, Stages(), limits, state=sleeps) for _ in range(4)]
    assert [one.reasons[0] for one in found] == 4 * ["state_late"]
    assert limits.breakers["state"].state is State.closed


def test_stages_refuse_another_release(release: Release) -> None:
    with pytest.raises(WrongRelease, match="holds release r1, was asked for r2"):
        check_same_release("r1", "r2")
