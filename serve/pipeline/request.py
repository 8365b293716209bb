"""One request through the stages, with the same code whether a stage is a function call or another deployment.

Shape legend: D dimension, K candidates.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

import numpy as np

from serve.filters.grammar import Filter
from serve.pipeline.budget import BudgetLimits, RequestBudget
from serve.pipeline.fallback import Fallback
from serve.pipeline.messages import Candidates, Explanation, Nearest, Query, Ranked, Response, SimilarQuery, UserVector
from serve.pipeline.retriever import excluded_rows, num_left_out
from serve.pipeline.source import Source

STAGES = ("state", "embed", "retrieve", "rerank", "describe", "explain")
"""The names of the stages in timings, reasons, metrics and circuit breakers."""


class Stages(Protocol):
    """The three stages of one release, and the further calls that they take, in this process or in another."""

    def embed(self, query: Query) -> Awaitable[UserVector]:
        """Stage 1: the user's vector and history, see `UserEncoder`."""
        ...

    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]:
        """Stage 2: the items nearest to the user's vector, see `Retriever`."""
        ...

    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]:
        """Stage 3: the candidates in their final order, see `RerankStage`."""
        ...

    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray | None]:
        """The vector of the item that the query's features describe, float32 [D], see `UserEncoder.describe`."""
        ...

    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates | None]:
        """The items nearest to a vector, or to the query's items, see `Retriever.similar`."""
        ...

    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]:
        """The items of a history that are nearest to each of some items, see `Retriever.nearest`."""
        ...

    def lacks_mask(self, asked: Query | SimilarQuery) -> bool:
        """Whether retrieval takes a pass over all items first for what was asked of it, to tell which ones pass.

        It is asked by the task that has just called retrieval, and only of what has a filter.
        """
        ...


async def recommend(
    query: Query,
    stages: Stages,
    fallback: Fallback,
    limits: BudgetLimits,
    read_state: Callable[[], Awaitable[tuple[Query, Fallback]]] | None = None,
) -> Response:
    """Answers a query within its deadline, whatever the stages do.

    - The state of the user fails or is late: the answer is by the release's history, degraded.
    - Nothing is known of the user: popular items, not degraded.
    - The user encoder or retrieval fails or is late: popular items, degraded.
    - Retrieval finds fewer items than asked for although there are more: filled up with popular items, degraded.
    - Which items pass the filter is not known by the deadline: no popular items, degraded.
    - Popular items that pass the filter are not found by the deadline: those among the most popular ones, degraded if
      these are too few.
    - The re-ranker fails or is late: the order of retrieval, degraded.

    Args:
        fallback: The popular items, as far as the query alone says which.
        read_state: Returns the query with what is known of its user from events, and the popular items by that; None
            where there are no events.
    """
    budget = RequestBudget.start(limits)
    named = query.history
    if read_state is not None:
        query, fallback = await budget.run_stage("state", read_state) or (query, fallback)
    user = await budget.run_stage("embed", lambda: stages.embed(query))
    if user is None:
        user = UserVector(query.release_id, None, np.array(query.recent + query.history, dtype=np.int64))
    exclude = excluded_rows(query, user)
    candidates = ranked = explanation = None
    if user.vector_D is not None:
        candidates = await budget.run_stage(
            "retrieve",
            lambda: stages.retrieve(query, user),
            lambda: _lacks_mask(stages, query),
        )
    if candidates is not None and len(candidates.rows_K):
        ranked = await budget.run_stage("rerank", lambda: stages.rerank(query, user, candidates))
    found = ranked or candidates
    rows, scores, source = await _fill_up(found, query.k, fallback, query.filter, exclude, budget)
    if query.explain:
        history = user.history if query.explains_user else np.array(named, dtype=np.int64)
        nearest = await _nearest(rows, history, stages, budget)
        explanation = Explanation(candidates, ranked, nearest, num_left_out(query, user))
    return budget.response(query.release_id, rows, scores, source, found, explanation)


def _lacks_mask(stages: Stages, asked: Query | SimilarQuery) -> bool:
    """Whether retrieval may be late because it takes a pass over all items first, to tell which ones pass a filter."""
    return asked.filter is not None and stages.lacks_mask(asked)


async def _nearest(rows: list[int], history: np.ndarray, stages: Stages, budget: RequestBudget) -> Nearest | None:
    """The items of a history that are nearest to each of an answer's rows; None where there are none, or no answer.

    Args:
        history: int64; rows, oldest first.
    """
    if not rows or not len(history):
        return None
    return await budget.run_stage("explain", lambda: stages.nearest(np.array(rows), history))


async def similar(query: SimilarQuery, stages: Stages, fallback: Fallback, limits: BudgetLimits) -> Response:
    """Finds items near other items, or near an item that features describe, by the same rules as `recommend`.

    If the towers know nothing of the items or the features, these are popular items, not degraded.
    """
    budget = RequestBudget.start(limits)
    vector_D = candidates = None
    if query.features is not None:
        vector_D = await budget.run_stage("describe", lambda: stages.describe(query))
    if query.features is None or vector_D is not None:
        candidates = await budget.run_stage(
            "retrieve",
            lambda: stages.similar(query, vector_D),
            lambda: _lacks_mask(stages, query),
        )
    exclude = np.array([*query.rows, *query.exclude], dtype=np.int64)
    rows, scores, source = await _fill_up(candidates, query.k, fallback, query.filter, exclude, budget)
    return budget.response(query.release_id, rows, scores, source, candidates)


async def _fill_up(
    found: Candidates | Ranked | None,
    k: int,
    fallback: Fallback,
    filter: Filter | None,
    exclude: np.ndarray,
    budget: RequestBudget,
) -> tuple[list[int], list[float], Source]:
    """Returns rows, scores and source of the first k of `found`, filled up with popular items."""
    rows = [] if found is None else found.rows_K[:k].tolist()
    scores = [] if found is None else found.scores_K[:k].tolist()
    source = Source.towers if rows else Source.popular
    if len(rows) < k:
        lacking = k - len(rows)
        top = partial(fallback.top, lacking, filter, np.concatenate([exclude, np.array(rows, dtype=np.int64)]))
        more, is_late = (top(), False) if filter is None else await _within(budget, fallback, filter, top)
        if is_late and (more is None or len(more.rows_K) < lacking):
            budget.reasons.append("popular_late")
        if more is None:
            return rows, scores, source
        if found is not None and len(more.rows_K):
            budget.reasons.append("retrieve_short")
        rows, scores = rows + more.rows_K.tolist(), scores + more.scores_K.tolist()
    return rows, scores, source


async def _within(
    budget: RequestBudget, fallback: Fallback, filter: Filter, top: Callable[..., Candidates]
) -> tuple[Candidates | None, bool]:
    """Popular items under a filter, and whether the deadline came before all were looked at.

    They are then those that a glance finds. Where it is not known which items pass, they are None, and that is found
    out for the requests that follow.
    """
    if asyncio.get_running_loop().time() < budget.deadline:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(budget.deadline):
                await fallback.prepare(filter)
                return await asyncio.to_thread(top), False
    if fallback.holds(filter):
        return top(glance=True), True
    fallback.begin(filter)
    return None, True
