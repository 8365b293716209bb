"""The calls of a stage that is in another process: together, except those that would hold up the others.

An answer to several requests is sent when the last of them is ready. A request for whose filter the stage has no mask
yet may take longer than the others have time for, so the stage gives it back and it is sent once more, by itself.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Protocol

from serve.pipeline.remote_batcher import RemoteBatcher
from serve.pipeline.retriever import Retriever

LONE_CALLS = 4
"""Most requests that are under way by themselves; further ones wait. They wait for masks, which a stage computes one or
two at a time, and leave its places to other requests."""

Arguments = tuple[Any, ...]

_GIVEN_BACK: ContextVar[bool] = ContextVar("given_back", default=False)
"""Whether the stage that this task called last has given its request back."""


class SendAlone(Exception):
    """The stage's answer to a request that would hold up the others of its call."""


class Send(Protocol):
    """Calls a stage: `answer_calls` in the stage's process."""

    async def __call__(self, calls: list[Arguments], *, alone: bool = False) -> Sequence[Any]: ...


class StageCalls:
    """Calls one method of a stage in another process. Use it from one event loop only.

    Args:
        send: Calls the stage with the arguments of several requests, or of one that waits by itself.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._together: RemoteBatcher[Arguments, Any] = RemoteBatcher(send)
        self._places = asyncio.Semaphore(LONE_CALLS)

    async def __call__(self, *arguments: Any) -> Any:
        """Returns the answer to one request; raises what the stage raised for it."""
        _GIVEN_BACK.set(False)
        with suppress(SendAlone):
            return await self._together(arguments)
        _GIVEN_BACK.set(True)
        async with self._places:
            (answer,) = await self._send([arguments], alone=True)
        if isinstance(answer, Exception):
            raise answer
        return answer


def was_given_back() -> bool:
    """Whether the stage that this task called last has said that it lacks the mask of the request's filter.

    A stage that hangs says nothing.
    """
    return _GIVEN_BACK.get()


async def answer_calls(stage: object, method: str, calls: list[Arguments], *, alone: bool = False) -> list[Any]:
    """Calls a method of a stage once for each tuple of arguments.

    Args:
        alone: Whether the one request of this call waits by itself.

    Returns:
        An answer to each call, in the same order; for a call that failed, its exception; `SendAlone` for one that would
        hold up the others.
    """
    ask = getattr(stage, method)

    async def answer(arguments: Arguments) -> Any:
        if not alone and isinstance(stage, Retriever) and stage.lacks_mask(arguments[0]):
            return SendAlone()
        return await ask(*arguments)

    return await asyncio.gather(*map(answer, calls), return_exceptions=True)
