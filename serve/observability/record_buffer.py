"""A buffer of records on the request path, which are written to the storage every few seconds, off the event loop."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from data.cluster.background import in_own_thread
from data.cluster.failure_log import FailureLog

R = TypeVar("R")


class RecordBuffer(Generic[R]):
    """Records that wait to be written. `add` appends to a list; `flush` writes the list in a thread of its own.

    One write happens at a time. On a storage that hangs it holds what it writes, as many records again may wait, and
    further ones are lost.

    Args:
        kind: What the records are, for messages.
        write: Writes records to the storage; raises OSError where that does not accept them, and they are tried again.
        interval_s: Seconds between two writes.
        max_waiting: Most records that wait. When the storage does not accept them, further ones are lost.
    """

    def __init__(self, kind: str, write: Callable[[list[R]], None], interval_s: float, max_waiting: int) -> None:
        self._kind, self._write = kind, write
        self._interval_s, self._max_waiting = interval_s, max_waiting
        self._log_failure = FailureLog(kind)
        self._waiting: list[R] = []
        self._writing = asyncio.Lock()
        self._flushed_at = time.monotonic()
        self._num_lost = 0

    def add(self, record: R) -> None:
        """Keeps a record until it is written, or counts it as lost where too many wait."""
        if len(self._waiting) >= self._max_waiting:
            self._num_lost += 1
        else:
            self._waiting.append(record)

    def take_lost(self) -> int:
        """The number of records that were lost since this was last asked."""
        lost, self._num_lost = self._num_lost, 0
        if lost:
            self._log_failure(f"{self._kind} lost", OSError(f"the storage did not accept {lost} of them in time"))
        return lost

    async def flush(self, at_once: bool = False) -> None:
        """Writes what waits, unless that was done less than the interval ago. It takes as long as the storage takes.

        Args:
            at_once: Whether to write whenever that was done last.
        """
        async with self._writing:
            if self._waiting and (at_once or time.monotonic() - self._flushed_at >= self._interval_s):
                self._flushed_at = time.monotonic()
                waiting, self._waiting = self._waiting, []
                await self._write_all(waiting)

    async def _write_all(self, waiting: list[R]) -> None:
        try:
            await in_own_thread(f"write-{self._kind}", partial(self._write, waiting))
        except OSError as e:
            self._log_failure(f"{self._kind} not written, tried again in a while", e)
            kept = waiting[: max(self._max_waiting - len(self._waiting), 0)]
            self._num_lost += len(waiting) - len(kept)
            self._waiting = kept + self._waiting
        except Exception:  # these records cannot be written: the next ones must not wait behind them
            self._num_lost += len(waiting)
            raise
