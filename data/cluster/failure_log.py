"""Failures in a replica's log: each kind once a minute with its traceback, however often it happens."""

import logging
import time

EVERY_S = 60.0
"""Seconds after which a failure of the same kind is logged again."""

MAX_KINDS = 1_000
"""The most kinds that are remembered; then all are forgotten, and logged again."""


def replica_logger(name: str) -> logging.Logger:
    """A logger below Ray Serve's own, whose handlers write JSON lines into the log files of the replica.

    A logger of another name would fall to standard error, which Ray does not keep at the level of Serve's log.
    """
    return logging.getLogger(f"ray.serve.{name}")


class FailureLog:
    """Logs failures with tracebacks. Of one kind it logs one in EVERY_S seconds, and how many there were meanwhile.

    Two failures are of one kind if they have the same place and the same type.
    """

    def __init__(self, name: str) -> None:
        """Begins without failures.

        Args:
            name: of the logger, see `replica_logger`.
        """
        self._logger = replica_logger(name)
        self._logged_at: dict[tuple[str, type], float] = {}
        self._unsaid: dict[tuple[str, type], int] = {}

    def __call__(self, place: str, error: BaseException) -> None:
        """Logs a failure, unless one of its kind was logged a moment ago.

        Args:
            place: what failed, such as "retrieve failed".
        """
        kind, now = (place, type(error)), time.monotonic()
        if now - self._logged_at.get(kind, -EVERY_S) < EVERY_S:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        if len(self._logged_at) >= MAX_KINDS:
            self._logged_at.clear()
            self._unsaid.clear()
        self._logged_at[kind] = now
        unsaid = self._unsaid.pop(kind, 0)
        more = f" (and {unsaid} times since this was last logged)" if unsaid else ""
        self._logger.error("%s: %s%s", place, error, more, exc_info=error)
