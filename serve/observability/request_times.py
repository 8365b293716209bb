"""How long requests take from their arrival in a replica to the last byte of the answer, and which end in an error."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from ray.serve.metrics import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
"""Upper bounds of the histogram's buckets; the target of a latency objective is one of them."""

PREFIX = "/v1/"
"""Routes that count: those that answer people, not those that answer probes."""


class RequestTimes:
    """The metrics of all requests of this process; see `request_times`."""

    def __init__(self) -> None:
        self._request_ms = Histogram(
            "twotower_request_ms", "Milliseconds from arrival to the last byte of the answer.", REQUEST_MS, ("route",)
        )
        self._errors = Counter("twotower_errors", "Answers with a status of 500 and above.", ("route", "code"))

    def record(self, route: str, started: float, code: int) -> None:
        """Counts a request that ends now.

        Args:
            route: the route's path with its parameters by name, or the method of gRPC.
            started: when it arrived, by `time.perf_counter`.
            code: its HTTP status.
        """
        self._request_ms.observe(1000 * (time.perf_counter() - started), {"route": route})
        if code >= 500:
            self._errors.inc(1, {"route": route, "code": str(code)})

    @contextmanager
    def measured(self, route: str, status_of: Callable[[BaseException], int]) -> Iterator[None]:
        """Counts the block as a request, unless the client goes meanwhile.

        Args:
            route: as for `record`.
            status_of: says with which HTTP status an error ends the request.
        """
        started = time.perf_counter()
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException as e:
            self.record(route, started, status_of(e))
            raise
        self.record(route, started, 200)


@cache
def request_times() -> RequestTimes:
    """Returns the metrics of this process, which are made when the first request arrives."""
    return RequestTimes()


class MeasuredRequests:
    """ASGI middleware that counts requests and their time. It is the outermost: what refuses a body is within it.

    Args:
        app: the application whose requests count.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:  # the client has gone: neither an answer nor an error
            raise
        except BaseException:
            request_times().record(_route(scope), started, status)
            raise
        request_times().record(_route(scope), started, status)


def _route(scope: Scope) -> str:
    """The path of the route, with its parameters by name; `other` where no route was reached."""
    return getattr(scope.get("route"), "path", "other")
