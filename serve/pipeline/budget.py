"""The request budget: the deadline of one request, the time left to its stages, and what was left out to meet it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from opentelemetry import trace

from data.cluster.failure_log import FailureLog
from serve.pipeline.breaker import CircuitBreaker
from serve.pipeline.messages import Candidates, Explanation, Ranked, Response, UnusableValue
from serve.pipeline.source import Source

T = TypeVar("T")
log_failure = FailureLog("pipeline")
tracer = trace.get_tracer("twotower.serve")

OVERHEAD_S, OVERHEAD_SHARE = 0.005, 0.02
"""What is kept of a request's timeout for parsing it and for sending its answer: so many seconds, or this share of it
where that is more; at most a tenth of it."""

DISPENSABLE_SHARE = 0.5
"""The largest share of the time that is left which a stage takes that one can do without: the others need the rest."""

COUNTED_SHARE = 0.2
"""The share of its most seconds by the config which such a stage must have had for its lateness to count:
with less, the short deadline is to blame."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """The limits of one request.

    Attributes:
        timeout_s: Seconds that the request may take from its arrival on.
        min_stage_s: A stage that timed out counts as failed only if it had at least this many seconds. With less, the
            short deadline is to blame and the circuit breaker does not count it.
        breakers: The circuit breaker of each stage; requests of one release in one replica share them.
        arrived: When the request arrived, by the clock of the event loop; None means that it arrives now.
        stage_s: By stage, the most seconds that it may take of the request's time, for stages that one can do without;
            it takes at most DISPENSABLE_SHARE of what is left.
    """

    timeout_s: float
    min_stage_s: float
    breakers: Mapping[str, CircuitBreaker]
    arrived: float | None = None
    stage_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class RequestBudget:
    """The deadline of one request, and a record of how its stages went.

    Attributes:
        limits: The request's limits.
        deadline: When the stages must be done, by the clock of the event loop.
        timings_ms: Milliseconds of each stage that was called.
        reasons: What was left out of the answer, for example `rerank_late`.
    """

    limits: BudgetLimits
    deadline: float
    timings_ms: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, limits: BudgetLimits) -> "RequestBudget":
        """Returns a budget whose time runs from the request's arrival."""
        overhead_s = min(max(OVERHEAD_S, OVERHEAD_SHARE * limits.timeout_s), limits.timeout_s / 10)
        arrived = asyncio.get_running_loop().time() if limits.arrived is None else limits.arrived
        return cls(limits, arrived + limits.timeout_s - overhead_s)

    async def run_stage(
        self, stage: str, call: Callable[[], Awaitable[T]], is_excused: Callable[[], bool] = lambda: False
    ) -> T | None:
        """Calls a stage within the time left.

        Args:
            stage: its name.
            call: calls it.
            is_excused: asked where it is late: whether what the request asks for may be the cause. The circuit breaker
                then does not count it, and neither does it where the stage had less than `min_stage_s`.

        Returns:
            The stage's answer. None, with a reason added to `reasons`, if the stage fails, is still running at the
            deadline, or is skipped because its circuit breaker is open.
        """
        breaker = self.limits.breakers[stage]
        if not breaker.allows_call():
            self.reasons.append(f"{stage}_skipped")
            return None
        started = time.perf_counter()
        most_s, counted_s = self._seconds_of(stage)
        record_outcome = breaker.record_unknown
        try:
            with tracer.start_as_current_span(stage):
                async with asyncio.timeout_at(min(self.deadline, asyncio.get_running_loop().time() + most_s)):
                    answer = await call()
            record_outcome = breaker.record_success
            return answer
        except TimeoutError:
            self.reasons.append(f"{stage}_late")
            had_time = time.perf_counter() - started >= counted_s
            is_counted = had_time and not is_excused()
            record_outcome = breaker.record_failure if is_counted else breaker.record_excused
        except UnusableValue as e:
            log_failure(f"{stage} refused values of a request", e)
            self.reasons.append(f"{stage}_failed")
        except Exception as e:  # the request is answered whatever a stage raises; the response says why it is degraded
            log_failure(f"{stage} failed", e)
            self.reasons.append(f"{stage}_failed")
            record_outcome = breaker.record_failure
        finally:
            record_outcome()
            self.timings_ms[stage] = round(1000 * (time.perf_counter() - started), 3)
        return None

    def _seconds_of(self, stage: str) -> tuple[float, float]:
        """The most seconds that a stage may take now, and after how many its lateness counts as a failure."""
        by_config_s = self.limits.stage_s.get(stage)
        if by_config_s is None:
            return math.inf, self.limits.min_stage_s
        left_s = max(self.deadline - asyncio.get_running_loop().time(), 0.0)
        most_s = min(by_config_s, DISPENSABLE_SHARE * left_s)
        return most_s, max(min(self.limits.min_stage_s, most_s), COUNTED_SHARE * by_config_s)

    def response(
        self,
        release_id: str,
        rows: list[int],
        scores: list[float],
        source: Source,
        found: Candidates | Ranked | None,
        explanation: Explanation | None = None,
    ) -> Response:
        """Returns the answer, together with what this budget recorded."""
        return Response(
            release_id=release_id,
            rows=rows,
            scores=scores,
            source=source,
            degraded=bool(self.reasons),
            reasons=self.reasons,
            timings_ms=self.timings_ms,
            explanation=explanation,
            found=found,
        )
