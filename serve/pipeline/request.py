"""One request through the stages: the same code whether a stage is a function call or a deployment away."""

from collections.abc import Awaitable
from typing import Protocol

import numpy as np

from serve.filters.grammar import Filter
from serve.pipeline.budget import Patience, Trip
from serve.pipeline.fallback import PopularItems
from serve.pipeline.messages import Candidates, Explanation, Nearest, Query, Ranked, Response, SimilarQuery, UserVector
from serve.pipeline.retriever import excluded
from serve.pipeline.source import Source

STAGES = ("embed", "retrieve", "rerank", "describe", "explain")


class Stages(Protocol):
    """The three stages, and what else they can tell, wherever they run."""

    def embed(self, query: Query) -> Awaitable[UserVector]: ...
    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]: ...
    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]: ...
    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray]: ...
    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates]: ...
    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]: ...


async def recommend(query: Query, stages: Stages, popular: PopularItems, patience: Patience) -> Response:
    """Answers within the deadline, always.

    Nothing known of the user: popular items. Embedding or retrieval late or failing: popular items, degraded.
    Fewer candidates than asked for although there are more items: filled up with popular ones, degraded.
    Re-ranking late or failing: retrieval order, degraded.
    """
    trip = Trip.starting(patience)
    user = await trip.take("embed", lambda: stages.embed(query))
    if user is None:
        user = UserVector(query.release_id, None, np.array(query.history, dtype=np.int64))
    exclude = excluded(query, user.history)
    candidates = ranked = explanation = None
    if user.vector_D is not None:
        candidates = await trip.take("retrieve", lambda: stages.retrieve(query, user))
    if candidates is not None and len(candidates.rows_K):
        ranked = await trip.take("rerank", lambda: stages.rerank(query, user, candidates))
    rows, scores, source = _filled(ranked or candidates, query.k, popular, query.filter, exclude, trip)
    if query.explain:
        nearest = None
        if rows and len(user.history):
            nearest = await trip.take("explain", lambda: stages.nearest(np.array(rows), user.history))
        explanation = Explanation(candidates, ranked, nearest, len(exclude))
    return trip.response(query.release_id, rows, scores, source, explanation)


async def similar(query: SimilarQuery, stages: Stages, popular: PopularItems, patience: Patience) -> Response:
    """Items near other items, or near what features describe, by the same rules as `recommend`."""
    trip = Trip.starting(patience)
    vector_D = candidates = None
    if query.features is not None:
        vector_D = await trip.take("describe", lambda: stages.describe(query))
    if query.features is None or vector_D is not None:
        candidates = await trip.take("retrieve", lambda: stages.similar(query, vector_D))
    exclude = np.array([*query.rows, *query.exclude], dtype=np.int64)
    rows, scores, source = _filled(candidates, query.k, popular, query.filter, exclude, trip)
    return trip.response(query.release_id, rows, scores, source)


def _filled(
    found: Candidates | Ranked | None,
    k: int,
    popular: PopularItems,
    filter: Filter | None,
    exclude: np.ndarray,
    trip: Trip,
) -> tuple[list[int], list[float], Source]:
    """The best k of what was found, filled up with popular items."""
    rows = [] if found is None else found.rows_K[:k].tolist()
    scores = [] if found is None else found.scores_K[:k].tolist()
    source = Source.towers if rows else Source.popular
    if len(rows) < k:
        more = popular.top(k - len(rows), filter, np.concatenate([exclude, np.array(rows, dtype=np.int64)]))
        if found is not None and len(more.rows_K):
            trip.reasons.append("retrieve_short")
        rows, scores = rows + more.rows_K.tolist(), scores + more.scores_K.tolist()
    return rows, scores, source
