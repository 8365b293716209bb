"""Failures stand in Ray Serve's log with their tracebacks, once a minute for each kind."""

import logging
import logging.config
import sys
from logging.handlers import MemoryHandler
from pathlib import Path

import pytest
from ray.serve._private import logging_utils
from ray.serve._private.common import ServeComponentType
from ray.serve.schema import LoggingConfig

from data.cluster import failure_log
from data.cluster.failure_log import FailureLog, replica_logger
from data.cluster.ray_compatibility.serve_logs import SERVE_LOGGER, keep_logging


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


def test_the_log_file_of_a_replica_survives_a_library_that_configures_logging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pymilvus does when it is imported: `dictConfig` closes all handlers of the process."""
    serves = logging.getLogger(SERVE_LOGGER)
    for name, value in {"handlers": [], "propagate": serves.propagate, "level": serves.level}.items():
        monkeypatch.setattr(serves, name, value)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr("builtins.print", print)
    monkeypatch.setattr(logging_utils, "configure_component_logger", logging_utils.configure_component_logger)
    keep_logging(logging_utils)
    logging_utils.configure_component_logger(
        component_name="replica",
        component_id="1",
        component_type=ServeComponentType.REPLICA,
        logging_config=LoggingConfig(encoding="JSON", log_level="WARNING", logs_dir=str(tmp_path)),
        max_bytes=0,
        backup_count=0,
    )
    (memory,) = [handler for handler in serves.handlers if isinstance(handler, MemoryHandler)]
    replica_logger("answers").warning("before")
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    replica_logger("answers").warning("after")
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert written.index("before") < written.index("after")
    assert memory.buffer == []
