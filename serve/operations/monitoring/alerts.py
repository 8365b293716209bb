"""Alert rules of Prometheus, each with a runbook in docs/operators.md.

Availability and latency alert by the rate at which they use up their error budget, over a long and a short window
(Google, The Site Reliability Workbook, chapter 5): the long one says that it matters, the short one that it goes on.
"""

from dataclasses import dataclass
from typing import Any

from serve.operations.monitoring.panels import (
    ANSWERS,
    COMPACTED,
    DEGRADED,
    ERRORS,
    GAPS,
    HAPROXY,
    LOST,
    REQUESTS,
    rate,
)
from serve.operations.objectives import Objectives

RUNBOOKS = "docs/operators.md"

FAST = (("1h", "5m", 14.4), ("6h", "30m", 6.0))
SLOW = (("1d", "2h", 3.0), ("3d", "6h", 1.0))
"""Windows and burn rates: 2 % of a month's budget in an hour or 5 % in six; 10 % in a day or in three."""


BY_GRPC = '{route=~"grpc .+"}'
"""The calls by gRPC among the requests of the replicas."""

LATELY = "15m"
"""How long losses are told. A counter of Ray's begins with its first increase, which is none to Prometheus, so one that
was not there so long ago counts too."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert rule.

    Attributes:
        name: its name, and that of its runbook.
        expression: PromQL that has a value while something is wrong.
        lasting: how long it must be wrong.
        severity: `page` for what people are hurt by now, `ticket` for what can wait until the morning.
        summary: what is wrong.
    """

    name: str
    expression: str
    lasting: str
    severity: str
    summary: str

    def rule(self) -> dict[str, Any]:
        """Returns the rule in Prometheus' form."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook": f"{RUNBOOKS}#{self.name.lower()}"},
        }


def alerts(objectives: Objectives) -> tuple[Alert, ...]:
    """Returns all alerts for these objectives."""
    machinery = *_of_the_machinery(objectives), *_of_logs(objectives)
    return (*_budgets(objectives), *_of_answers(objectives), *machinery)


def rules(objectives: Objectives) -> dict[str, Any]:
    """Returns the content of a rules file of Prometheus, which is also the spec of a PrometheusRule."""
    return {"groups": [{"name": "twotower", "rules": [alert.rule() for alert in alerts(objectives)]}]}


def _budgets(objectives: Objectives) -> tuple[Alert, ...]:
    answered, fast = 1 - objectives.availability, 1 - objectives.fast
    share = f"{objectives.availability:.3%} availability"
    return (
        Alert(
            name="ErrorBudgetFast",
            expression=_burns(FAST, answered, _failed),
            lasting="2m",
            severity="page",
            summary=f"Requests fail at a rate that will soon use up the budget of {share}.",
        ),
        Alert(
            name="ErrorBudgetSlow",
            expression=_burns(SLOW, answered, _failed),
            lasting="15m",
            severity="ticket",
            summary=f"Requests fail a little more often than {share} allows.",
        ),
        Alert(
            name="LatencyBudgetFast",
            expression=_burns(FAST, fast, lambda window: _late(objectives.latency_ms, window)),
            lasting="2m",
            severity="page",
            summary=f"Many answers take longer than {objectives.latency_ms} ms.",
        ),
        Alert(
            name="LatencyBudgetSlow",
            expression=_burns(SLOW, fast, lambda window: _late(objectives.latency_ms, window)),
            lasting="15m",
            severity="ticket",
            summary=f"Somewhat more than {fast:.1%} of the answers take longer than {objectives.latency_ms} ms.",
        ),
    )


def _of_answers(objectives: Objectives) -> tuple[Alert, ...]:
    def of_late(selector: str) -> str:
        return rate(selector, window="10m")

    return (
        Alert(
            name="DegradedAnswers",
            expression=f"{of_late(DEGRADED)} / {of_late(ANSWERS)} > {objectives.degraded:g}",
            lasting="5m",
            severity="ticket",
            summary=f"More than {objectives.degraded:.1%} of the answers lack a stage.",
        ),
        Alert(
            name="RecallLow",
            expression=f"{of_late('ray_twotower_index_recall_sum')} / {of_late('ray_twotower_index_recall_count')}"
            f" < {objectives.recall:g}",
            lasting="10m",
            severity="ticket",
            summary=f"The approximate index finds less than {objectives.recall:.0%} of the nearest items.",
        ),
        Alert(
            name="RetrievalSkipped",
            expression='max(ray_twotower_breaker_open{stage="retrieve"}) == 1',
            lasting="1m",
            severity="page",
            summary="Retrieval keeps failing and is skipped; with index=milvus, Milvus does not answer.",
        ),
    )


def _of_the_machinery(objectives: Objectives) -> tuple[Alert, ...]:
    healthy = 'ray_serve_deployment_replica_healthy{deployment="Recommender"}'
    return (
        Alert(
            name="NoReplicas",
            expression=f"sum({healthy}) < 1 or absent({healthy})",
            lasting="2m",
            severity="page",
            summary="No replica answers requests.",
        ),
        Alert(
            name="PointerStale",
            expression="max(ray_twotower_pointer_stale) == 1",
            lasting="2m",
            severity="page",
            summary="The storage does not say what is live: promotions, rollbacks and recalls take no effect.",
        ),
        Alert(
            name="TaskHangs",
            expression="max by (task) (ray_twotower_task_late) == 1",
            lasting="2m",
            severity="ticket",
            summary="A task in the background of replicas hangs, such as a write of exposures and decisions.",
        ),
        Alert(
            name="GuardRolledBack",
            expression="max(delta(ray_twotower_guard_rollbacks[15m])) > 0",
            lasting="0m",
            severity="ticket",
            summary="A guard has rolled back a release on trial.",
        ),
        Alert(
            name="DiskLow",
            expression="min by (ip) (ray_node_disk_free / (ray_node_disk_free + ray_node_disk_usage))"
            f" < {objectives.disk_free:g}",
            lasting="10m",
            severity="ticket",
            summary="A node's disk is nearly full.",
        ),
    )


def _of_logs(objectives: Objectives) -> tuple[Alert, ...]:
    return (
        Alert(
            name="CompactionFails",
            expression=f"time() - {COMPACTED} > {objectives.compacted_s:g}",
            lasting="10m",
            severity="ticket",
            summary="A log has not been compacted: events wait in the store, and no forgotten user is removed.",
        ),
        Alert(
            name="CompactionAbsent",
            expression=f'absent_over_time(ray_twotower_compacted_time_s{{kind="events"}}[{GAPS}])'
            ' and on () (count(ray_twotower_task_late{task="events"}) > 0)',
            lasting="10m",
            severity="ticket",
            summary="Events are taken, and nothing says when they were compacted: no compaction runs.",
        ),
        Alert(
            name="RecordsLost",
            expression=f"sum by (kind) (increase({LOST}[{LATELY}])) > 0"
            f" or sum by (kind) ({LOST} unless {LOST} offset {LATELY}) > 0",
            lasting="0m",
            severity="ticket",
            summary="Exposures or decisions are lost: the storage did not take them, so what was shown is not known.",
        ),
    )


def _burns(windows: tuple[tuple[str, str, float], ...], budget: float, share: Any) -> str:
    """An expression that holds where the budget burns too fast over one pair of windows."""
    pairs = (
        f"({share(long)} > {rate * budget:.6g} and {share(short)} > {rate * budget:.6g})"
        for long, short, rate in windows
    )
    return " or ".join(pairs)


def _failed(window: str) -> str:
    """The share of requests that fail, as HAProxy counts those by HTTP, and the replicas those by gRPC.

    HAProxy refuses some itself, and cannot read the status of a call by gRPC. Without it, the replicas count all that
    reach them. Calls by gRPC that a full replica refuses are in no count: Ray Serve ends them before any code of the
    endpoint, and before its own counters, and to HAProxy they are answers.
    """
    refused, by_http = HAPROXY.replace("}", ',code="5xx"}'), rate(HAPROXY, window=window)
    by_grpc = {name: f"({rate(name + BY_GRPC, window=window)} or 0 * {by_http})" for name in (ERRORS, REQUESTS)}
    at_haproxy = f"({rate(refused, window=window)} + {by_grpc[ERRORS]}) / ({by_http} + {by_grpc[REQUESTS]})"
    at_replicas = f"{rate(ERRORS, window=window)} / {rate(REQUESTS, window=window)}"
    return f"({at_haproxy} or {at_replicas})"


def _late(latency_ms: int, window: str) -> str:
    """The share of requests that take longer."""
    fast = rate(f'ray_twotower_request_ms_bucket{{le="{latency_ms:.1f}"}}', window=window)
    return f"(1 - {fast} / {rate(REQUESTS, window=window)})"
