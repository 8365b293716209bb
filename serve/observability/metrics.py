"""The endpoint's metrics for Prometheus, through Ray's own exporter, which puts `ray_` before their names.

No metric is labelled by user or item. Ray adds the labels deployment, replica and application.
"""

from collections import Counter as Counts
from collections.abc import Callable, Mapping

from ray.serve.metrics import Counter, Gauge, Histogram

from serve.observability.repeating import repeated
from serve.pipeline.breaker import CircuitBreaker, State
from serve.pipeline.messages import Response

# Upper bounds of the histograms' buckets.
STAGE_MS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]
RECALL = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0]
RESULTS = [0.5, 1.5, 2.5, 5.5, 10.5, 20.5, 50.5, 100.5]


class Metrics:
    """The metrics of an ingress replica. Durations are observed at once; counts are collected until `flush`."""

    def __init__(self) -> None:
        self._requests = Counter(
            "twotower_requests",
            "Answers by outcome (ok, degraded), source and release.",
            ("outcome", "source", "release_id"),
        )
        self._reasons = Counter("twotower_degraded_reasons", "What was left out of answers, and why.", ("reason",))
        self._stage_ms = Histogram("twotower_stage_ms", "Milliseconds per stage.", STAGE_MS, ("stage",))
        self._results = Histogram("twotower_results", "Items per answer.", RESULTS)
        self._breaker = Gauge("twotower_breaker_open", "1 while the circuit breaker is not closed.", ("stage",))
        self._release = Gauge("twotower_release_info", "1 for the release that answers.", ("release_id",))
        self._stale = Gauge("twotower_pointer_stale", "1 while the last reading of the live pointer is too old.")
        self._calls = Counter(
            "twotower_calls", "Calls by the name of the key and what came of them.", ("key", "outcome")
        )
        self._late = Gauge(
            "twotower_task_late", "1 while a round of a task in the background takes longer than it should.", ("task",)
        )
        self._lost = Counter("twotower_lost_records", "Exposures and decisions that were dropped.", ("kind",))
        self._answers: Counts[tuple[str, str, str]] = Counts()
        self._degraded_reasons: Counts[str] = Counts()

    def record(self, answer: Response) -> None:
        """Counts one answer."""
        outcome = "degraded" if answer.degraded else "ok"
        self._answers[outcome, answer.source.value, answer.release_id] += 1
        self._degraded_reasons.update(answer.reasons)
        for stage, duration_ms in answer.timings_ms.items():
            self._stage_ms.observe(duration_ms, {"stage": stage})
        self._results.observe(len(answer.rows), {})

    def flush(self, release_id: str, breakers: Mapping[str, CircuitBreaker], is_stale: bool) -> None:
        """Exports the counts since the last call, the circuit breakers, the live release, and whether that is stale."""
        for (outcome, source, release), count in self._answers.items():
            self._requests.inc(count, {"outcome": outcome, "source": source, "release_id": release})
        for reason, count in self._degraded_reasons.items():
            self._reasons.inc(count, {"reason": reason})
        self._answers.clear()
        self._degraded_reasons.clear()
        for stage, breaker in breakers.items():
            self._breaker.set(float(breaker.state is not State.closed), {"stage": stage})
        self._release.set(1.0, {"release_id": release_id})
        self._stale.set(float(is_stale))

    def flush_calls(self, calls: Mapping[tuple[str, str], int]) -> None:
        """Exports the calls since the last time, by the name of the caller's key and by outcome."""
        for (name, outcome), count in calls.items():
            self._calls.inc(count, {"key": name, "outcome": outcome})

    def flush_lost(self, lost: Mapping[str, int]) -> None:
        """Exports by kind how many records were dropped since the last time, because too many waited to be written."""
        for kind, number in lost.items():
            if number:
                self._lost.inc(number, {"kind": kind})

    def flush_late(self, tasks: Mapping[str, bool]) -> None:
        """Exports by its name whether a task in the background is late."""
        for name, is_late in tasks.items():
            self._late.set(float(is_late), {"task": name})


def recall_reporter() -> Callable[[float, str], None]:
    """Returns a function for RecallMonitor that exports recall, labelled by the selectivity of the query's filter."""
    histogram = Histogram("twotower_index_recall", "Recall of approximate searches.", RECALL, ("passing",))
    return lambda recall, passing: histogram.observe(recall, {"passing": passing})


def rollback_reporter(stopped: Callable[[float], bool]) -> Callable[[int], None]:
    """Returns a function for CanaryGuard that exports how many rollbacks of releases on trial it has seen.

    Args:
        stopped: as for `repeated`.
    """
    gauge = Gauge("twotower_guard_rollbacks", "Rollbacks by guards that this one has seen.")

    def export(number: int) -> None:
        gauge.set(float(number))

    report = repeated(export, stopped)
    report(0)  # so that an alert by its increase sees the first one
    return report


def compaction_reporter(stopped: Callable[[float], bool]) -> Callable[[Mapping[str, float], int | None], None]:
    """Returns a function for LogCompactor that exports when each log was compacted last, and how many events wait.

    Args:
        stopped: as for `repeated`.
    """
    compacted = Gauge("twotower_compacted_time_s", "Unix time of a log's last compaction that succeeded.", ("kind",))
    waiting = Gauge("twotower_events_waiting", "Accepted events that are not in the event log yet.")

    def export(compacted_s: Mapping[str, float], num_waiting: int | None) -> None:
        for kind, at_s in compacted_s.items():
            compacted.set(at_s, {"kind": kind})
        if num_waiting is not None:
            waiting.set(float(num_waiting))

    return repeated(export, stopped)
