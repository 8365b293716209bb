"""One request through the stages: the same code whether a stage is a function call or a deployment away."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from serve.breaker import Breaker
from serve.filters import Filter
from serve.popular import PopularItems
from serve.request import (
    Candidates,
    Explanation,
    Nearest,
    Query,
    Ranked,
    Response,
    SimilarQuery,
    Source,
    UserVector,
)
from serve.retriever import excluded
from serve.tracing import tracer

T = TypeVar("T")
logger = logging.getLogger("serve.pipeline")

ANSWER_S = 0.005
"""Of a request's time this much, but a tenth at most, is kept for taking it in and sending its answer."""

STAGES = ("embed", "retrieve", "rerank", "describe", "explain")


class Stages(Protocol):
    """The three stages, and what else they can tell, wherever they run."""

    def embed(self, query: Query) -> Awaitable[UserVector]: ...
    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]: ...
    def rerank(self, query: Query, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]: ...
    def describe(self, query: SimilarQuery) -> Awaitable[np.ndarray]: ...
    def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Awaitable[Candidates]: ...
    def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Awaitable[Nearest]: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request waits, and when a stage is left alone.

    Attributes:
        timeout_s: of this request.
        fair_s: a stage that had less time than this and was late is not to blame.
        breakers: by stage; of the release and replica, and so of many requests.
    """

    timeout_s: float
    fair_s: float
    breakers: Mapping[str, Breaker]


@dataclass(slots=True)
class Trip:
    """One request's deadline, and what it has taken and lacked so far."""

    patience: Patience
    deadline: float
    timings_ms: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @classmethod
    def starting(cls, patience: Patience) -> "Trip":
        """A trip whose time runs from now."""
        for_stages_s = patience.timeout_s - min(ANSWER_S, patience.timeout_s / 10)
        return cls(patience, asyncio.get_running_loop().time() + for_stages_s)

    def response(
        self,
        release_id: str,
        rows: list[int],
        scores: list[float],
        source: Source,
        explanation: Explanation | None = None,
    ) -> Response:
        """The answer, and how the trip went."""
        return Response(
            release_id=release_id,
            rows=rows,
            scores=scores,
            source=source,
            degraded=bool(self.reasons),
            reasons=self.reasons,
            timings_ms=self.timings_ms,
            explanation=explanation,
        )

    async def take(self, stage: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """The stage's answer, or None, with the reason noted, where it fails, is late or is left alone."""
        breaker = self.patience.breakers[stage]
        if not breaker.allows():
            self.reasons.append(f"{stage}_skipped")
            return None
        started = time.perf_counter()
        verdict = breaker.unknown
        try:
            with tracer.start_as_current_span(stage):
                async with asyncio.timeout_at(self.deadline):
                    answer = await call()
            verdict = breaker.succeeded
            return answer
        except TimeoutError:
            self.reasons.append(f"{stage}_late")
            if time.perf_counter() - started >= self.patience.fair_s:
                verdict = breaker.failed
        except Exception as e:  # whatever a stage dies of, the request is answered; the reason is in the response
            logger.warning("%s failed: %s", stage, e)
            self.reasons.append(f"{stage}_failed")
            verdict = breaker.failed
        finally:
            verdict()
            self.timings_ms[stage] = round(1000 * (time.perf_counter() - started), 3)
        return None


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
