"""A buffer of records on the request path, which are written to the storage every few seconds, off the event loop."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar

from data.cluster.background import in_own_thread
from data.cluster.failure_log import FailureLog

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Batch(Generic[R]):
    """Records that are written together, again and again until the storage has said that it has them.

    A write may fail and have reached the storage all the same, as where the answer is late. So `name` and `begun`
    alone decide where a batch goes: the next attempt replaces what the one before has written.

    Attributes:
        records: In the order in which they came.
        name: 12 hexadecimal digits, unique among the batches of all processes.
        begun: When it was first to be written.
    """

    records: list[R]
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))


class RecordBuffer(Generic[R]):
    """Records that wait to be written. `add` appends to a list; `flush` writes the list in a thread of its own.

    One write happens at a time. On a storage that hangs it holds what it writes, as many records again may wait, and
    further ones are lost.

    Args:
        kind: What the records are, for messages.
        write: Writes a batch to the storage; raises OSError where that does not accept it, and the same batch is tried
            again. What it had written before is then replaced.
        interval_s: Seconds between two writes.
        max_waiting: Most records that wait. When the storage does not accept them, further ones are lost.
    """

    def __init__(self, kind: str, write: Callable[[Batch[R]], None], interval_s: float, max_waiting: int) -> None:
        self._kind, self._write = kind, write
        self._interval_s, self._max_waiting = interval_s, max_waiting
        self._log_failure = FailureLog(kind)
        self._waiting: list[R] = []
        self._refused: Batch[R] | None = None
        self._writing = asyncio.Lock()
        self._flushed_at = time.monotonic()
        self._num_lost = 0

    def add(self, record: R) -> None:
        """Keeps a record until it is written, or counts it as lost where too many wait."""
        if len(self._waiting) >= self._room:
            self._num_lost += 1
        else:
            self._waiting.append(record)

    @property
    def _room(self) -> int:
        """How many records may wait beside the batch that the storage has refused."""
        return self._max_waiting - (0 if self._refused is None else len(self._refused.records))

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
            if not (at_once or time.monotonic() - self._flushed_at >= self._interval_s):
                return
            if self._refused is not None:
                self._flushed_at = time.monotonic()
                await self._write_batch(self._refused)
            if self._refused is None and self._waiting:
                self._flushed_at = time.monotonic()
                batch, self._waiting = Batch(self._waiting), []
                await self._write_batch(batch)

    async def _write_batch(self, batch: Batch[R]) -> None:
        try:
            await in_own_thread(f"write-{self._kind}", partial(self._write, batch))
        except OSError as e:
            self._log_failure(f"{self._kind} not written, tried again in a while", e)
            self._refused = batch
            self._num_lost += max(len(self._waiting) - self._room, 0)
            del self._waiting[self._room :]
        except Exception:  # these records cannot be written: the next ones must not wait behind them
            self._refused = None
            self._num_lost += len(batch.records)
            raise
        else:
            self._refused = None
