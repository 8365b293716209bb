"""Failures stand in Ray Serve's log with their tracebacks, once a minute for each kind."""

import logging

import pytest

from data.cluster import failure_log
from data.cluster.failure_log import FailureLog, replica_logger


def test_loggers_are_below_ray_serves_own() -> None:
    """Its handlers write into the replica's log file; what other loggers say is lost."""
    assert replica_logger("follower").name.startswith("ray.serve.")


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_one_of_a_kind_is_logged_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Records()
    monkeypatch.setattr(replica_logger("test"), "handlers", [kept])
    log_failure, clock = FailureLog("test"), [100.0]
    monkeypatch.setattr(failure_log.time, "monotonic", lambda: clock[0])

    def fail(error: Exception) -> None:
        try:
            raise error
        except Exception as e:
            log_failure("retrieve failed", e)

    for number in range(5):
        fail(ValueError(f"no {number}"))
    fail(OSError("gone"))
    clock[0] += 61
    fail(ValueError("again"))
    assert [record.getMessage() for record in kept.records] == [
        "retrieve failed: no 0",
        "retrieve failed: gone",
        "retrieve failed: again (and 4 times since this was last logged)",
    ]
    assert all(record.exc_info is not None for record in kept.records)
