"""One request through the stages: the same code whether a stage is a function call or a deployment away."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from serve.popular import PopularItems
from serve.request import Candidates, Query, Ranked, Response, Source, UserVector
from serve.retriever import excluded

T = TypeVar("T")
logger = logging.getLogger("serve.pipeline")


class Stages(Protocol):
    """The three stages, wherever they run."""

    def embed(self, query: Query) -> Awaitable[UserVector]: ...
    def retrieve(self, query: Query, user: UserVector) -> Awaitable[Candidates]: ...
    def rerank(self, user: UserVector, candidates: Candidates) -> Awaitable[Ranked]: ...


@dataclass(slots=True)
class Trip:
    """One request's deadline, and what it has taken and lacked so far."""

    deadline: float
    timings_ms: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    async def take(self, stage: str, answer: Awaitable[T]) -> T | None:
        """The stage's answer, or None, with the reason noted, where it fails or is late."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout_at(self.deadline):
                return await answer
        except TimeoutError:
            self.reasons.append(f"{stage}_late")
        except Exception as e:  # whatever a stage dies of, the request is answered; the reason is in the response
            logger.warning("%s failed: %s", stage, e)
            self.reasons.append(f"{stage}_failed")
        finally:
            self.timings_ms[stage] = round(1000 * (time.perf_counter() - started), 3)
        return None


async def recommend(query: Query, stages: Stages, popular: PopularItems, timeout_s: float) -> Response:
    """Answers within the deadline, always.

    Nothing known of the user: popular items. Embedding or retrieval late or failing: popular items, degraded.
    Re-ranking late or failing: retrieval order, degraded.
    """
    trip = Trip(asyncio.get_running_loop().time() + timeout_s)
    user = await trip.take("embed", stages.embed(query))
    if user is None:
        user = UserVector(query.release_id, None, np.array(query.history, dtype=np.int64))
    exclude = excluded(query, user.history)
    candidates = ranked = None
    if user.vector_D is not None:
        candidates = await trip.take("retrieve", stages.retrieve(query, user))
    if candidates is not None and len(candidates.rows_K):
        ranked = await trip.take("rerank", stages.rerank(user, candidates))
    found = ranked or candidates or popular.top(query.k, query.filter, exclude)
    rows, scores = found.rows_K[: query.k], found.scores_K[: query.k]
    source = Source.popular if candidates is None else Source.towers
    return Response(
        release_id=query.release_id,
        rows=rows.tolist(),
        scores=[float(s) for s in scores],
        source=source,
        degraded=bool(trip.reasons),
        reasons=trip.reasons,
        timings_ms=trip.timings_ms,
    )
