"""Limits on the size of request bodies, on the time that they take to arrive, and on their encoding, before parsing.

Starlette has such a limit too (RequestBodyLimitMiddleware, behind FastAPI's max_body_size), but it refuses a request
before its body has arrived.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from math import inf

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SOON_S = 2.0
"""Seconds after which a body that is not complete is slow.

Ray Serve's own proxy hands a body over in a call of its own. In a burst of 512 requests on two busy cores, these calls
took more than 0.25 s for 139 requests, and more than a second for some.
"""

MAX_SLOW = 8
"""The most slow bodies that are waited for at the same time. Each takes one of the replica's places for requests, and
HAProxy holds back only what its buffer can hold."""

DISCARDED = 16
"""A refused body is read, and discarded, up to this many times the limit. A proxy that gets an answer while it still
sends the body may lose that answer, and the next request on the same connection too."""


class BodyLimit:
    """ASGI middleware that answers 413 for a body of more than `max_bytes`, 408 for one that takes longer, and 415 for
    one with a Content-Encoding, which says how the body is compressed: no compressed body is taken. A body that comes
    slowly while MAX_SLOW others do is answered with 503.

    A request that has no business with a body is answered at once, whatever it announces: what is there of a body is
    thrown away, and the rest is not waited for.

    If a refused body has been read to its end, the connection stays open; otherwise the answer closes it.

    Args:
        app: The application behind this limit.
        max_bytes: The requests that have a body, by method and path as in `POST /v1/recommend`, and the bytes of the
            largest one that is accepted.
        max_s: Seconds that a body may take to arrive.
    """

    def __init__(self, app: ASGIApp, max_bytes: Mapping[str, int], max_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_s = max_s
        self._slow = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._max_bytes.get(f"{scope['method']} {scope['path']}")
        if max_bytes is None:
            await self._answer_without_body(scope, receive, send)
            return
        headers = dict(scope["headers"])
        encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip()
        body = _Body(receive, headers.get(b"content-length", b"0"), max_bytes)
        try:
            async with self._waiting() as is_crowded:
                await body.read()
        except TimeoutError:
            if is_crowded():
                await _refuse(send, 503, f"request body: {MAX_SLOW} others come as slowly; send it again", ended=False)
                return
            await _refuse(send, 408, f"request body: not complete after {self._max_s:g} s; send it faster", ended=False)
            return
        if body.too_long:
            detail = f"request body: larger than {max_bytes} bytes; send fewer ids"
            await _refuse(send, 413, detail, body.ended)
            return
        if encoding.lower() != "identity":
            await _refuse(send, 415, f"Content-Encoding: {encoding[:50]!r}: send the body uncompressed", body.ended)
            return
        await self._app(scope, _replayed(body.content, receive), send)

    async def _answer_without_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request as if it had no body. If one has not arrived by then, the answer closes the connection."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length == b"0" and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        body = _Body(receive, length, max(self._max_bytes.values()))
        with suppress(TimeoutError):
            async with asyncio.timeout(0):  # what is there already is read without a pause
                await body.read()

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and not body.ended:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, _replayed(b"", receive), send_last)

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[Callable[[], bool]]:
        """Ends the block by TimeoutError after `max_s` seconds, or after SOON_S if too many bodies are slow.

        Yields a function that says whether it was the latter.
        """
        loop, is_slow, is_crowded = asyncio.get_running_loop(), False, False

        def look() -> None:
            nonlocal is_slow, is_crowded
            is_crowded = self._slow >= MAX_SLOW
            is_slow = not is_crowded
            self._slow += is_slow
            if is_crowded:
                limit.reschedule(loop.time())

        soon = loop.call_later(SOON_S, look)
        try:
            async with asyncio.timeout(self._max_s) as limit:
                yield lambda: is_crowded
        finally:
            soon.cancel()
            self._slow -= is_slow


class _Body:
    """The body of one request: kept up to the limit, thrown away once it is longer."""

    def __init__(self, receive: Receive, declared: bytes, max_bytes: int) -> None:
        self.content = b""
        self.ended = False
        self._length = int(declared) if declared.isdigit() else inf  # as declared, or as received if that is more
        self._receive = receive
        self._max_bytes = max_bytes

    @property
    def too_long(self) -> bool:
        """Whether the body is, or is declared to be, longer than the limit."""
        return self._length > self._max_bytes

    async def read(self) -> None:
        """Reads the body to its end, or as far as a refused one is read."""
        received = 0
        while not self.ended and self._length <= DISCARDED * self._max_bytes:
            message = await self._receive()
            part = message.get("body", b"")
            received += len(part)
            self._length = max(self._length, received)
            self.content = b"" if self.too_long else self.content + part
            self.ended = not message.get("more_body", False)  # also true of http.disconnect


def _replayed(content: bytes, receive: Receive) -> Receive:
    """A `receive` of an application that gets this body first."""
    waiting: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


async def _refuse(send: Send, status: int, detail: str, ended: bool) -> None:
    content = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [] if ended else [(b"connection", b"close")]
    headers += [(b"retry-after", b"1")] if status == 503 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
