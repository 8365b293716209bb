"""The micro-batcher: requests that are waiting at the same time are computed in one call."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from inspect import ismethod
from typing import Generic, TypeVar
from weakref import WeakMethod

A = TypeVar("A")
R = TypeVar("R")

INLINE_S = 0.005
"""A batch that is expected to take longer than this runs in a thread, so that it does not block the event loop."""

SMOOTHING = 0.1
"""Weight of the latest batch in the moving average of the seconds that one request takes."""


class MicroBatcher(Generic[A, R]):
    """Collects the requests that wait at the same time and computes them in one call of `run_batch`.

    There is no fixed waiting time. While no batch is running, a request waits only for those that arrive in the same
    turn of the event loop. Requests that arrive while a batch is running form the next batch. A batch that is expected
    to be short runs on the event loop, which saves the hand-over to a thread; a long one runs in a thread of the
    micro-batcher's own, and so does the first one, in which files are read and buffers made.

    Use it from one event loop only. It refers weakly to the object whose method `run_batch` is, which usually holds the
    micro-batcher: in a cycle, neither would be freed when a release is dropped, because Ray Serve freezes what the
    garbage collector would look at.

    Args:
        run_batch: Takes the arguments of several requests and returns one answer for each, in the same order. An
            exception among the answers is raised to its own caller only; an exception that `run_batch` raises is
            raised to every caller of the batch.
        max_batch_size: Most requests in one batch.
    """

    def __init__(self, run_batch: Callable[[Sequence[A]], Sequence[R | Exception]], max_batch_size: int = 32) -> None:
        self._run_batch = WeakMethod(run_batch) if ismethod(run_batch) else lambda: run_batch
        self._max_batch_size = max_batch_size
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._is_running = False
        self._seconds_per_request: float | None = None  # of the first one, nothing is known
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")

    async def __call__(self, argument: A) -> R:
        """Returns the answer to one request; raises what `run_batch` raised or returned for it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((argument, answer))
        if not self._is_running:
            self._is_running = True
            loop.call_soon(self._start_next_batch)
        return await answer

    def _start_next_batch(self) -> None:
        """Starts the next batch, without the requests whose callers have given up meanwhile."""
        waiting = [pair for pair in self._waiting if not pair[1].done()]
        batch, self._waiting = waiting[: self._max_batch_size], waiting[self._max_batch_size :]
        if not batch:
            self._is_running = False
        elif self._seconds_per_request is None or len(batch) * self._seconds_per_request > INLINE_S:
            loop = asyncio.get_running_loop()
            loop.run_in_executor(self._thread, self._compute, batch).add_done_callback(
                lambda future: self._finish(batch, future.result())
            )
        else:
            self._finish(batch, self._compute(batch))

    def _compute(self, batch: list[tuple[A, "asyncio.Future[R]"]]) -> Sequence[R | Exception] | Exception:
        started = time.perf_counter()
        try:
            run_batch = self._run_batch()
            assert run_batch is not None, "whoever waits for an answer holds the object that gives it"
            return run_batch([argument for argument, _ in batch])
        except Exception as e:  # `deliver` raises it to the callers that wait
            return e
        finally:
            seconds = (time.perf_counter() - started) / len(batch)
            before = self._seconds_per_request
            # The first batch says little of those that follow: it is counted like any other, after batches of no time.
            self._seconds_per_request = (before or 0.0) + SMOOTHING * (seconds - (before or 0.0))

    def _finish(self, batch: list[tuple[A, "asyncio.Future[R]"]], answers: Sequence[R | Exception] | Exception) -> None:
        deliver(batch, answers)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start_next_batch)
        else:
            self._is_running = False


def deliver(batch: list[tuple[A, "asyncio.Future[R]"]], answers: Sequence[R | Exception] | Exception) -> None:
    """Hands each caller that still waits its answer or its exception; a single exception goes to every caller."""
    answer_of_each = [answers] * len(batch) if isinstance(answers, Exception) else answers
    for (_, future), answer in zip(batch, answer_of_each, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
