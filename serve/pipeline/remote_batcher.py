"""The remote batcher: requests for a stage in another process that wait at the same time are sent in one call.

A call between two Ray Serve deployments costs milliseconds, however much it carries. With 32 concurrent requests, one
call for each would cost more than everything that the stages compute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

from serve.index.micro_batcher import deliver

A = TypeVar("A")
R = TypeVar("R")

CONCURRENT_CALLS = 2
"""Calls in flight at the same time, however few requests wait: one is on its way while the other is computed."""

EXTRA_CALL_SIZE = 8
"""This many waiting requests are sent in a further call, so that a higher load reaches more replicas."""

MAX_CALL_SIZE = 32
"""Most requests in one call."""


class RemoteBatcher(Generic[A, R]):
    """Sends all waiting requests in one call of `send`; no request waits for longer than a call in flight takes.

    A call is cancelled when the callers of all its requests have given up, so that a replica that hangs does not hold
    up other requests.

    Use it from one event loop only.

    Args:
        send: Takes the arguments of several requests and returns one answer for each, in the same order. An exception
            among the answers is raised to its own caller only; an exception that `send` raises is raised to every
            caller of the call. It runs outside the context of any request, because Ray Serve would otherwise cancel a
            call on behalf of many requests when one of them is cancelled.
    """

    def __init__(self, send: Callable[[list[A]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._send = send
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def __call__(self, argument: A) -> R:
        """Returns the answer to one request; raises what `send` raised or returned for it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((argument, answer))
        loop.call_soon(self._start_calls)  # later in this turn, so that requests of the same turn share a call
        return await answer

    def _start_calls(self) -> None:
        waiting = [pair for pair in self._waiting if not pair[1].done()]
        while waiting and (len(self._calls) < CONCURRENT_CALLS or len(waiting) >= EXTRA_CALL_SIZE):
            batch, waiting = waiting[:MAX_CALL_SIZE], waiting[MAX_CALL_SIZE:]
            call = asyncio.get_running_loop().create_task(self._call(batch), context=Context())
            self._calls.add(call)
            call.add_done_callback(self._call_ended)
            for _, answer in batch:
                answer.add_done_callback(partial(_cancel_if_abandoned, call, batch))
        self._waiting = waiting

    async def _call(self, batch: list[tuple[A, "asyncio.Future[R]"]]) -> None:
        answers: Sequence[R | Exception] | Exception
        try:
            answers = await self._send([argument for argument, _ in batch])
        except Exception as e:  # `deliver` raises it to the callers that wait
            answers = e
        deliver(batch, answers)

    def _call_ended(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._start_calls()


def _cancel_if_abandoned(
    call: "asyncio.Task[None]", batch: list[tuple[A, "asyncio.Future[R]"]], _: "asyncio.Future[R]"
) -> None:
    if all(answer.cancelled() for _, answer in batch):
        call.cancel()
