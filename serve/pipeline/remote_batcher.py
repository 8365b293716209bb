"""Requests for a stage in another process that are waiting at the same time travel there together.

A call between deployments costs milliseconds, whatever it carries: with 32 requests under way, one at a time, more than
all that the stages compute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Generic, TypeVar

from serve.pipeline.micro_batcher import deliver

A = TypeVar("A")
R = TypeVar("R")

CALLS = 2
"""So many calls are under way however few are waiting: one travels while the other is computed."""

ENOUGH, MOST = 8, 32
"""So many waiting requests are worth a call of their own, so that load reaches more replicas; and most in one call."""


class Carrier(Generic[A, R]):
    """Calls `send` with all that is waiting; nobody waits for longer than a call under way.

    A call whose requests have all been given up is cancelled, so that a replica that hangs does not hold up others.

    Args:
        send: arguments -> one answer for each, in their order; an exception among them goes to its own caller alone,
            one that `send` raises to all that it carries. It runs outside of any request's context: Ray Serve would
            cancel the call of many when one of them is cancelled.
    """

    def __init__(self, send: Callable[[list[A]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._send = send
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def __call__(self, argument: A) -> R:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((argument, answer))
        loop.call_soon(self._go)  # those that the same turn brings go along
        return await answer

    def _go(self) -> None:
        waiting = [pair for pair in self._waiting if not pair[1].done()]
        while waiting and (len(self._calls) < CALLS or len(waiting) >= ENOUGH):
            taken, waiting = waiting[:MOST], waiting[MOST:]
            call = asyncio.get_running_loop().create_task(self._carry(taken), context=Context())
            self._calls.add(call)
            call.add_done_callback(self._returned)
            for _, answer in taken:
                answer.add_done_callback(partial(_cancel_if_given_up, call, taken))
        self._waiting = waiting

    async def _carry(self, taken: list[tuple[A, "asyncio.Future[R]"]]) -> None:
        answers: Sequence[R | Exception] | Exception
        try:
            answers = await self._send([argument for argument, _ in taken])
        except Exception as e:  # belongs to those who wait
            answers = e
        deliver(taken, answers)

    def _returned(self, call: "asyncio.Task[None]") -> None:
        self._calls.discard(call)
        self._go()


def _cancel_if_given_up(
    call: "asyncio.Task[None]", taken: list[tuple[A, "asyncio.Future[R]"]], _: "asyncio.Future[R]"
) -> None:
    if all(answer.cancelled() for _, answer in taken):
        call.cancel()
