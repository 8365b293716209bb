"""Access control of HTTP requests, as ASGI middleware, and of gRPC calls.

An endpoint on loopback that asks nobody is within reach of every web site that a browser on the machine shows. Requests
that such a site sends, or under a name of its own, are refused.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.access.control import Refused, installed
from serve.access.scopes import accepted

BEARER = "bearer "


class AccessMiddleware:
    """ASGI middleware that answers 401, 403 or 429 to requests that the process's access control refuses.

    It stands behind the limits of the body: a proxy may lose an answer that comes while it still sends the body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = (value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization")
        try:
            _refuse_other_sites(scope)
            async with admitted(scope["method"], scope["path"], given):
                await self._app(scope, receive, send)
        except Refused as e:
            await _answer(e)(scope, receive, send)


@asynccontextmanager
async def admitted(method: str, path: str, authorization: Iterable[str]) -> AsyncIterator[None]:
    """Answers a request within the block, by the name of who asks.

    Args:
        method: of the request, or `gRPC`.
        path: of the request, or the name of the gRPC method.
        authorization: the values of its Authorization headers.

    Raises:
        Refused: it is not to be answered.
    """
    control = installed()
    scopes = accepted(method, path) if control.asks else None
    if scopes is None:
        yield
        return
    async with control.admitted(_credentials(list(authorization)), scopes):
        yield


def _refuse_other_sites(scope: Scope) -> None:
    """Raises Refused where a web site may be behind a request that it must not send, see `require_from_here`."""
    control = installed()
    if control.is_for_loopback and accepted(scope["method"], scope["path"]) is not None:
        headers = Headers(scope=scope)
        control.require_from_here(headers.get("host"), headers.get("origin"))


def _credentials(authorization: list[str]) -> str | None:
    """What stands behind `Bearer` in the one header; None where there is no such header, or where there are several."""
    if len(authorization) != 1 or not authorization[0].lower().startswith(BEARER):
        return None
    return authorization[0][len(BEARER) :].strip()


def _answer(refused: Refused) -> JSONResponse:
    headers = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
    if refused.retry_after_s is not None:
        headers["retry-after"] = f"{refused.retry_after_s:.0f}"
    return JSONResponse({"detail": str(refused)}, refused.status, headers)
