"""One request through the stages: the same code whether a stage is a function call or a deployment away."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from serve.breaker import Breaker
from serve.popular import PopularItems
from serve.request import Candidates, Query, Ranked, Response, Source, UserVector
from serve.retriever import excluded

T = TypeVar("T")
logger = logging.getLogger("serve.pipeline")

STAGES = ("embed", "retrieve", "rerank")


class Stages(Protocol):
    """The three stages, wherever they run."""

    def embed(self, query: Query) -> Awaitable[UserVector]: ...
    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]: ...
    def rerank(self, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]: ...


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

    async def take(self, stage: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """The stage's answer, or None, with the reason noted, where it fails, is late or is left alone."""
        breaker = self.patience.breakers[stage]
        if not breaker.allows():
            self.reasons.append(f"{stage}_skipped")
            return None
        started = time.perf_counter()
        verdict = breaker.unknown
        try:
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
    trip = Trip(patience, asyncio.get_running_loop().time() + patience.timeout_s)
    user = await trip.take("embed", lambda: stages.embed(query))
    if user is None:
        user = UserVector(query.release_id, None, np.array(query.history, dtype=np.int64))
    exclude = excluded(query, user.history)
    candidates = ranked = None
    if user.vector_D is not None:
        candidates = await trip.take("retrieve", lambda: stages.retrieve(query, user))
    if candidates is not None and len(candidates.rows_K):
        ranked = await trip.take("rerank", lambda: stages.rerank(user, candidates))
    found = ranked or candidates
    rows, scores = ([], []) if found is None else (found.rows_K[: query.k].tolist(), found.scores_K[: query.k].tolist())
    source = Source.towers if rows else Source.popular
    if len(rows) < query.k:
        more = popular.top(query.k - len(rows), query.filter, np.concatenate([exclude, np.array(rows, dtype=np.int64)]))
        if candidates is not None and len(more.rows_K):
            trip.reasons.append("retrieve_short")
        rows, scores = rows + more.rows_K.tolist(), scores + more.scores_K.tolist()
    return Response(
        release_id=query.release_id,
        rows=rows,
        scores=scores,
        source=source,
        degraded=bool(trip.reasons),
        reasons=trip.reasons,
        timings_ms=trip.timings_ms,
    )
