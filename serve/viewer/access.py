"""Who may open the page: browsers that call it by its name, with the token where it listens elsewhere than on loopback.

A page on loopback is within reach of every web site that a browser on the machine shows. Requests under a name that is
not the page's (DNS rebinding) and those that another site's pages start (their `Origin`) are therefore refused, those
of web sockets included.
"""

import hmac
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")

PARAMETER = "token"
"""The parameter of an address that carries the token once; a cookie carries it from then on."""

SAYS = "This page needs its token: open the address with ?token=... that python -m serve.page has printed."


def with_token(address: str, token: str | None) -> str:
    """Returns the address of a page that carries the token, if there is one."""
    return f"{address}/?{urlencode({PARAMETER: token})}" if token else address


class AccessGuard:
    """Lets a request through if it calls the page by its own name, and brings the token where one is needed.

    Args:
        app: What answers the requests that are let through.
        names: The host names of the page; none accepts every name, which is safe only with a token.
        token: None needs no token.
        port: The port of the page, which is part of the cookie's name: browsers share cookies between ports.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], token: str | None, port: int) -> None:
        self.app, self._names, self._token = app, {name.lower() for name in names}, token
        self._cookie = f"twotower_page_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or refuses: 403, or a closed web socket; a page is redirected to its address without the token."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_called_by_name(headers):
            await _refuse(scope, receive, send, "This is not a name of the page; page.names names further ones.")
        elif self._token is None or self._is_known(headers):
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and self._brings_token(scope):
            await self._remember(scope)(scope, receive, send)
        else:
            await _refuse(scope, receive, send, SAYS)

    def _is_called_by_name(self, headers: Headers) -> bool:
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return False
        return not self._names or (urlsplit(f"//{host}").hostname or "") in self._names

    def _is_known(self, headers: Headers) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and self._is_token(unquote(found.value))

    def _brings_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER, [""])[0]
        return self._is_token(given)

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _remember(self, scope: Scope) -> RedirectResponse:
        rest = {k: v for k, v in parse_qs(scope["query_string"].decode("latin-1")).items() if k != PARAMETER}
        path = "/" + scope["path"].lstrip("/")
        answer = RedirectResponse(path + (f"?{urlencode(rest, doseq=True)}" if rest else ""), status_code=303)
        answer.set_cookie(self._cookie, quote(self._token or "", safe=""), httponly=True, samesite="strict")
        return answer


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    await PlainTextResponse(why, status_code=403)(scope, receive, send)
