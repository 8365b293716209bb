"""The limits of request bodies, size and time, in front of everything else.

Starlette has one too (RequestBodyLimitMiddleware, behind FastAPI's max_body_size), which refuses before the body is in.
"""

import asyncio
import json
from math import inf

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DISCARDED = 16
"""So many times the limit are read of a body that is refused, and thrown away: a proxy that gets the answer while it
still sends may lose it, and the connection's next request with it."""


class BodyLimit:
    """ASGI middleware: a body of more than `max_bytes` is answered with 413, one that takes more than `max_s` with 408.

    A refusal comes when the body has ended and leaves the connection open, or else closes it.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_s = max_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, dict(scope["headers"]).get(b"content-length", b"0"), self._max_bytes)
        try:
            async with asyncio.timeout(self._max_s):
                await body.read()
        except TimeoutError:
            await _refuse(send, 408, f"request body: not complete after {self._max_s:g} s; send it faster", ended=False)
            return
        if body.too_long:
            detail = f"request body: larger than {self._max_bytes} bytes; send fewer ids"
            await _refuse(send, 413, detail, body.ended)
            return
        waiting: list[Message] = [{"type": "http.request", "body": body.content, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)


class _Body:
    """A request's body as it comes in: kept up to the limit, and what comes beyond it thrown away."""

    def __init__(self, receive: Receive, declared: bytes, max_bytes: int) -> None:
        self.content = b""
        self.ended = False
        self._length = int(declared) if declared.isdigit() else inf  # declared, or come in where that is more
        self._receive = receive
        self._max_bytes = max_bytes

    @property
    def too_long(self) -> bool:
        return self._length > self._max_bytes

    async def read(self) -> None:
        come_in = 0
        while not self.ended and self._length <= DISCARDED * self._max_bytes:
            message = await self._receive()
            part = message.get("body", b"")
            come_in += len(part)
            self._length = max(self._length, come_in)
            self.content = b"" if self.too_long else self.content + part
            self.ended = not message.get("more_body", False)  # true of http.disconnect


async def _refuse(send: Send, status: int, detail: str, ended: bool) -> None:
    content = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [] if ended else [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
