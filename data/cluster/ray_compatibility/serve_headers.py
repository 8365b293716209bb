"""Ids of requests, and other headers, as Ray Serve may read them.

Ray takes the id that a request brings, by the header X-Request-Id or the metadata `request_id`, as it is: of any length
and with any character. It decodes this header and a few others, and where one of them is not UTF-8 the request ends
with status 500 before any code of ours has seen it.
"""

import re
from typing import Any
from uuid import uuid4

LONGEST_ID = 256
"""Characters of the longest id of a request: what events may name, see serve/api/limits.py."""

FITTING_ID = re.compile(r"[!-~]+")
"""Printable ASCII characters without spaces."""

DECODED = (b"serve-multiplexed-model-id", b"traceparent", b"tracestate")
"""Headers that Ray decodes, beside those that its module of HTTP names. It takes `_` for `-` in some of them."""


def fitting_id(given: str | None, longest: int = LONGEST_ID) -> str | None:
    """The id that a request brings, if it is one; otherwise None, and the request gets a fresh one."""
    if given is None or len(given) > longest or FITTING_ID.fullmatch(given) is None:
        return None
    return given


def fresh_id() -> str:
    """The id of a request that brings none."""
    return str(uuid4())


def check_headers(http_util: Any) -> None:
    """Has the HTTP servers of proxies and replicas drop headers that Ray would stumble over, before they read any."""
    decoded = {
        http_util.SERVE_HTTP_REQUEST_TIMEOUT_S_HEADER,
        http_util.SERVE_HTTP_REQUEST_DISCONNECT_DISABLED_HEADER,
        http_util.SERVE_SESSION_ID,
    }
    names = {_plain(name.encode()) for name in decoded}.union(DECODED)
    of_id = http_util.SERVE_HTTP_REQUEST_ID_HEADER.encode()
    middleware = http_util.RequestIdMiddleware  # the outermost, which gives an id to requests without one
    answer = middleware.__call__

    async def checked(self: Any, scope: Any, receive: Any, send: Any) -> None:
        headers = scope["headers"]
        ids = [value for name, value in headers if name == of_id]
        has_one = len(ids) == 1 and fitting_id(ids[0].decode("latin-1")) is not None
        scope["headers"] = [
            (name, value)
            for name, value in headers
            if (has_one if name == of_id else _plain(name) not in names or value.isascii())
        ]
        await answer(self, scope, receive, send)

    middleware.__call__ = checked


def check_context_id(grpc_util: Any) -> None:
    """Has replicas that take gRPC by themselves give a fresh id where the metadata's is none."""
    context = grpc_util.RayServegRPCContext
    given = context.request_id

    def checked(self: Any) -> str | None:
        return fitting_id(given(self))

    context.request_id = checked


def check_proxied_id(proxy_request_response: Any) -> None:
    """The same for gRPC through Ray Serve's own proxy."""
    request = proxy_request_response.gRPCProxyRequest
    read = request.setup_variables

    def checked(self: Any) -> None:
        read(self)
        self.request_id = fitting_id(self.request_id)

    request.setup_variables = checked


def _plain(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")
