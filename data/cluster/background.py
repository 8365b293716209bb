"""Work in the background of a replica: tasks that do a round again and again, and threads for what may hang."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

from data.cluster.failure_log import FailureLog

T = TypeVar("T")

LATE_S = 10.0
"""Seconds after which a round that has not ended is late, unless a task says otherwise."""


class PeriodicTask:
    """A task of the event loop that does a round again and again, whatever a round raises, and says how it is.

    Args:
        name: What it is called where somebody asks how it is.
        round: Does one round.
        every_s: Seconds between the end of a round and the beginning of the next one.
        log_failure: Logs what a round raises, and a round that is late.
        place: Begins the log's line; None means the name.
        late_s: Seconds after which a round that has not ended is late.
    """

    def __init__(
        self,
        name: str,
        round: Callable[[], Awaitable[None]],
        every_s: float,
        log_failure: FailureLog,
        place: str | None = None,
        late_s: float = LATE_S,
    ) -> None:
        self.name = name
        self._round, self._every_s, self._late_s = round, every_s, late_s
        self._log_failure, self._place = log_failure, place or f"{name} failed"
        self._ended_at = time.monotonic()
        self._began_at: float | None = None  # None between two rounds
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            self._began_at = time.monotonic()
            try:
                await self._one_round()
            except Exception as e:  # this task must not end: nothing else does what it does
                self._log_failure(self._place, e)
            self._ended_at, self._began_at = time.monotonic(), None

    async def _one_round(self) -> None:
        doing = asyncio.ensure_future(self._round())
        try:
            while not (await asyncio.wait({doing}, timeout=self._late_s))[0]:
                self._log_failure(self._place, TimeoutError(f"no answer in {self._late_s:g} s"))
        finally:
            doing.cancel()  # does nothing where it has ended
        doing.result()

    def cancel(self) -> None:
        """Ends the task, and the round that it is in."""
        self._task.cancel()

    @property
    def is_running(self) -> bool:
        """Whether the task has not ended. A round that hangs does not end it, see `is_late`."""
        return not self._task.done()

    @property
    def age_s(self) -> float:
        """Seconds since a round has ended, or since the task began."""
        return time.monotonic() - self._ended_at

    @property
    def is_late(self) -> bool:
        """Whether a round has been going on for longer than `late_s`."""
        return self._began_at is not None and time.monotonic() - self._began_at > self._late_s

    @property
    def problem(self) -> str | None:
        """What is wrong with the task, for people; None if nothing is."""
        if not self.is_running:
            return f"{self.name}: ended"
        return f"{self.name}: no round has ended for {self.age_s:.0f} s" if self.is_late else None


async def in_own_thread(name: str, call: Callable[[], T]) -> T:
    """Returns what a blocking call returns, which a thread of its own makes.

    The event loop's own threads are few, and a process waits for them as it ends: a call that may hang takes neither
    here. Where the caller is cancelled, the call goes on.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = call()
        except BaseException as e:  # raised to the caller
            future.set_exception(e)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(future)
