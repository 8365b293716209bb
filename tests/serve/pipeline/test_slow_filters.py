"""A filter whose mask takes longer than the request may: answered in time, and at nobody else's expense."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from data.sequences.membership import is_among
from data.sources.schema import FeatureKind
from serve.filters.grammar import Condition, Filter
from serve.filters.masks import FilterColumns
from serve.index.config import IndexConfig
from serve.index.protocol import IndexUnavailable
from serve.index.replica_index import ReplicaIndex
from serve.pipeline import fallback
from serve.pipeline.breaker import CircuitBreaker, State
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.fallback import PopularFallback
from serve.pipeline.messages import Candidates, Query, Ranked, Response, SimilarQuery, UserVector
from serve.pipeline.request import STAGES, recommend
from serve.pipeline.retriever import Retriever
from serve.pipeline.stage_calls import LONE_CALLS, StageCalls, answer_calls, was_given_back
from towers.checkpoint.checkpoint import Checkpoint

DIM = 4
SLOW = Condition("studio", FeatureKind.categorical, "!=", "nobody")
UNHARMED_S = 60


class SlowColumns(FilterColumns):
    """The mask of a filter is there as soon as the gate is open."""

    gate: threading.Event
    computed: list[Filter]
    passing: np.ndarray | None = None

    def _mask(self, filter: Filter) -> np.ndarray:
        self.computed.append(filter)
        self.gate.wait(UNHARMED_S)
        return np.ones(self.num_items, dtype=bool) if self.passing is None else self.passing.copy()


class Stages:
    """Retrieval is the real one."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    async def embed(self, query: Query) -> UserVector:
        return UserVector("r", np.ones(DIM, np.float32), np.zeros(0, np.int64))

    async def retrieve(self, query: Query, user: UserVector) -> Candidates:
        return await self._retriever(query, user)

    async def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Ranked:
        return Ranked("r", candidates.rows_K, candidates.scores_K)

    def lacks_mask(self, asked: Query | SimilarQuery) -> bool:
        return self._retriever.lacks_mask(asked)


class Remote(Stages):
    """Retrieval is the real one as a deployment of its own calls it, without the network between."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self._calls = StageCalls(partial(answer_calls, retriever, "__call__"))

    async def retrieve(self, query: Query, user: UserVector) -> Candidates:
        found: Candidates = await self._calls(query, user)
        return found

    def lacks_mask(self, asked: Query | SimilarQuery) -> bool:
        return was_given_back()


class Endpoint:
    """One release whose masks are slow, and the breakers that its requests share."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.columns = SlowColumns(checkpoint.items.table, checkpoint.items.features)
        self.columns.gate, self.columns.computed = threading.Event(), []
        self.fallback = PopularFallback("r", checkpoint, self.columns)
        self.breakers = {stage: CircuitBreaker(5, 60) for stage in STAGES}

    async def start(self) -> "Endpoint":
        vectors_ND = np.random.default_rng(0).normal(size=(self.columns.num_items, DIM)).astype(np.float32)
        index = await ReplicaIndex.hydrate(IndexConfig(), "c", "r", self.columns, DIM, vectors_ND=vectors_ND)
        self.retriever = Retriever("r", index)
        self.stages = Stages(self.retriever)
        return self

    async def answer(self, filter: Filter | None, timeout_s: float = 0.1) -> Response:
        query = Query(release_id="r", user_id="u", k=3, num_candidates=10, filter=filter)
        asked = recommend(query, self.stages, self.fallback, BudgetLimits(timeout_s, 0.01, self.breakers))
        return await asyncio.wait_for(asked, UNHARMED_S / 2)


@pytest.fixture
async def endpoint(checkpoint: Checkpoint) -> AsyncIterator[Endpoint]:
    started = await Endpoint(checkpoint).start()
    yield started
    started.columns.gate.set()


async def test_what_is_not_known_by_the_deadline_is_left_out(endpoint: Endpoint) -> None:
    for _ in range(10):
        found = await endpoint.answer(SLOW)
        assert (found.rows, found.reasons) == ([], ["retrieve_late", "popular_late"])
    assert endpoint.columns.computed == [SLOW], "it is computed once"
    assert endpoint.breakers["retrieve"].state is State.closed
    neighbour = await endpoint.answer(None, timeout_s=UNHARMED_S)
    assert (len(neighbour.rows), neighbour.reasons) == (3, [])
    endpoint.columns.gate.set()
    later = await endpoint.answer(SLOW, timeout_s=UNHARMED_S)
    assert (len(later.rows), later.reasons) == (3, [])
    assert endpoint.columns.computed == [SLOW]


@pytest.mark.parametrize("num_slow", [1, 2, LONE_CALLS + 1])
async def test_filters_are_slow_at_nobody_elses_expense_where_requests_travel_together(
    endpoint: Endpoint, num_slow: int
) -> None:
    endpoint.stages = Remote(endpoint.retriever)
    slow = [asyncio.create_task(endpoint.answer(replace(SLOW, value=f"{n}"), 1.0)) for n in range(num_slow)]
    found = await asyncio.gather(*(endpoint.answer(None, UNHARMED_S) for _ in range(8)))
    found.append(await endpoint.answer(None, UNHARMED_S))  # one that comes while those wait
    assert [(len(one.rows), one.reasons) for one in found] == 9 * [(3, [])]
    late = await asyncio.gather(*slow)
    assert [one.reasons for one in late] == num_slow * [["retrieve_late", "popular_late"]]
    assert endpoint.breakers["retrieve"].state is State.closed


async def test_what_is_sent_alone_is_answered_and_its_errors_are_raised(endpoint: Endpoint) -> None:
    endpoint.stages = Remote(endpoint.retriever)
    endpoint.columns.gate.set()
    found = await endpoint.answer(SLOW, timeout_s=UNHARMED_S)
    assert (len(found.rows), found.reasons, endpoint.columns.computed) == (3, [], [SLOW])
    query = Query(release_id="r", user_id="u", k=3, num_candidates=10, filter=replace(SLOW, op="=="))
    with pytest.raises(ValueError, match="dimension"):
        await endpoint.stages.retrieve(query, UserVector("r", np.ones(DIM + 1, np.float32), np.zeros(0, np.int64)))


async def test_a_retrieval_that_hangs_counts_and_popular_items_answer(endpoint: Endpoint) -> None:
    """The items that pass are known, so it is not the filter's fault."""
    endpoint.columns.gate.set()
    await endpoint.columns.prepare(SLOW)
    endpoint.stages.retrieve = hangs  # type: ignore[method-assign]
    found = [await endpoint.answer(SLOW) for _ in range(6)]
    assert [len(one.rows) for one in found] == 6 * [3]
    assert [one.reasons for one in found] == 5 * [["retrieve_late"]] + [["retrieve_skipped"]]


@pytest.mark.parametrize("is_remote", [False, True])
async def test_a_retrieval_that_hangs_is_not_excused_by_a_mask_that_it_does_not_wait_for(
    endpoint: Endpoint, is_remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milvus tells itself which items pass, and a deployment of its own does not get to say that it has no mask."""

    async def hanging(*_: object, **__: object) -> None:
        await asyncio.sleep(UNHARMED_S)

    if is_remote:
        endpoint.stages = Remote(endpoint.retriever)
        endpoint.stages._calls = StageCalls(hanging)  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(endpoint.retriever.index, "is_prepared", lambda filter: True)
        monkeypatch.setattr(endpoint.retriever.index, "search", hanging)
    endpoint.columns.gate.set()
    found = [await endpoint.answer(SLOW) for _ in range(6)]
    assert [len(one.rows) for one in found] == [0, 3, 3, 3, 3, 3], "the first one has found out which items pass"
    first, *others = (one.reasons for one in found)
    assert first == ["retrieve_late", "popular_late"]
    assert others == 4 * [["retrieve_late"]] + [["retrieve_skipped"]]


async def hangs(query: Query, user: UserVector) -> Candidates:
    await asyncio.sleep(UNHARMED_S)
    raise AssertionError


async def fails(query: Query, user: UserVector) -> Candidates:
    raise IndexUnavailable("gone")


async def test_past_the_deadline_the_event_loop_looks_at_few_popular_items(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items that pass are known, and unpopular, so that all others would be looked at first."""
    looked_at: list[int] = []

    def noted(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
        if threading.current_thread() is threading.main_thread():
            looked_at.append(len(values))
        return is_among(values, ascending)

    for name, value in {"FEW": 0, "BLOCK": 8, "GLANCE": 16, "is_among": noted}.items():
        monkeypatch.setattr(fallback, name, value)
    last = endpoint.fallback.top(endpoint.columns.num_items, None, np.zeros(0, np.int64)).rows_K[-3:]
    endpoint.columns.passing = np.isin(np.arange(endpoint.columns.num_items) + 1, last)
    endpoint.columns.gate.set()
    await endpoint.columns.prepare(SLOW)
    looked_at.clear()
    endpoint.stages.retrieve = hangs  # type: ignore[method-assign]
    late = await endpoint.answer(SLOW)
    assert (late.rows, late.reasons) == ([], ["retrieve_late", "popular_late"])
    assert sum(looked_at) <= 16
    endpoint.stages.retrieve = fails  # type: ignore[method-assign]
    looked_at.clear()
    in_time = await endpoint.answer(SLOW, timeout_s=UNHARMED_S)
    assert (in_time.rows, in_time.reasons, looked_at) == (last.tolist(), ["retrieve_failed"], []), "by a thread"


async def test_a_user_without_a_vector_waits_no_longer_either(endpoint: Endpoint) -> None:
    async def nobody(query: Query) -> UserVector:
        return UserVector("r", None, np.zeros(0, np.int64))

    endpoint.stages.embed = nobody  # type: ignore[method-assign]
    found = await endpoint.answer(replace(SLOW, op="=="))
    assert (found.rows, found.reasons) == ([], ["popular_late"])
