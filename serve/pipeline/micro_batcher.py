"""Requests that are waiting at the same time go through a stage together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

INLINE_S = 0.005
"""A call that is expected to take longer than this does not block the event loop, but runs in a thread."""

SMOOTHING = 0.1
"""Weight of the latest call in what is expected of the next."""


class Batcher(Generic[A, R]):
    """Calls `work` on all that has come together: a window that adapts instead of a fixed wait.

    While nothing is under way, a request waits for those that the same turn of the event loop brought, and no longer.
    Those that come while a call runs are the next batch. A short call runs on the event loop, where it costs no
    hand-over; a long one in a thread of the batcher's own.

    Args:
        work: arguments -> one answer for each, in their order; an exception among them goes to its own caller alone,
            one that `work` raises to all of the batch.
        most: of one batch.
    """

    def __init__(self, work: Callable[[Sequence[A]], Sequence[R | Exception]], most: int = 32) -> None:
        self._work = work
        self._most = most
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._busy = False
        self._seconds_each = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")

    async def __call__(self, argument: A) -> R:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((argument, answer))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._next)
        return await answer

    def _next(self) -> None:
        """Starts the next batch; requests that were given up meanwhile are not in it."""
        waiting = [pair for pair in self._waiting if not pair[1].done()]
        batch, self._waiting = waiting[: self._most], waiting[self._most :]
        if not batch:
            self._busy = False
        elif len(batch) * self._seconds_each > INLINE_S:
            loop = asyncio.get_running_loop()
            loop.run_in_executor(self._thread, self._run, batch).add_done_callback(
                lambda f: self._done(batch, f.result())
            )
        else:
            self._done(batch, self._run(batch))

    def _run(self, batch: list[tuple[A, "asyncio.Future[R]"]]) -> Sequence[R | Exception] | Exception:
        started = time.perf_counter()
        try:
            return self._work([argument for argument, _ in batch])
        except Exception as e:  # belongs to those who wait, in `_done`
            return e
        finally:
            each = (time.perf_counter() - started) / len(batch)
            self._seconds_each += SMOOTHING * (each - self._seconds_each)

    def _done(self, batch: list[tuple[A, "asyncio.Future[R]"]], answers: Sequence[R | Exception] | Exception) -> None:
        deliver(batch, answers)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._busy = False


def deliver(batch: list[tuple[A, "asyncio.Future[R]"]], answers: Sequence[R | Exception] | Exception) -> None:
    """To each that still waits its answer, or the exception that took its place, or the place of all."""
    each = [answers] * len(batch) if isinstance(answers, Exception) else answers
    for (_, future), answer in zip(batch, each, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
