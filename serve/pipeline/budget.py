"""The request budget: one request's deadline, and what it has taken and lacked so far."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from opentelemetry import trace

from serve.pipeline.breaker import Breaker
from serve.pipeline.messages import Explanation, Response
from serve.pipeline.source import Source

T = TypeVar("T")
logger = logging.getLogger("serve.pipeline")
tracer = trace.get_tracer("twotower.serve")

ANSWER_S = 0.005
"""Of a request's time this much, but a tenth at most, is kept for taking it in and sending its answer."""


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
