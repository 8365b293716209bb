"""What a caller must be allowed for each route of the endpoint, by HTTP and gRPC. A new route is a line in SCOPES."""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from typing import Any


class Scope(Enum):
    """What a key or a token allows."""

    recommend = "recommend"  # to ask for recommendations, similar items and the live release
    events = "events"  # to tell what users do
    read_users = "read_users"  # to read what is known of a user, in explanations of recommendations too
    admin = "admin"  # everything, to forget a user too


PUBLIC = None
"""In place of a scope: anybody may ask, because the answer says nothing about users or items."""

SCOPES: dict[str, Scope | None] = {
    "POST /v1/recommend": Scope.recommend,
    "POST /v1/recommend/batch": Scope.recommend,
    "POST /v1/similar": Scope.recommend,
    "GET /v1/items/{item_id:path}/similar": Scope.recommend,
    "GET /v1/releases/live": Scope.recommend,
    "POST /v1/events": Scope.events,
    "GET /v1/users/{user_id:path}": Scope.read_users,
    "DELETE /v1/users/{user_id:path}": Scope.admin,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/oauth2-redirect": PUBLIC,
    "GET /redoc": PUBLIC,
    "GET /static-offline-docs/{path:path}": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "gRPC Recommend": Scope.recommend,
    "gRPC RecommendBatch": Scope.recommend,
    "gRPC Similar": Scope.recommend,
    "gRPC PostEvents": Scope.events,
    "gRPC GetUser": Scope.read_users,
    "gRPC ForgetUser": Scope.admin,
}
"""The scope of each route: a method and a path as FastAPI has it, or `gRPC` and the name of a method."""

_ACCEPTED = {route: None if scope is None else frozenset({scope, Scope.admin}) for route, scope in SCOPES.items()}


@cache
def _templates() -> list[tuple[str, re.Pattern[str], frozenset[Scope] | None]]:
    """Method, pattern and scopes of each route with a parameter in its path."""
    from starlette.routing import compile_path  # which the commands need not wait for

    parts = [(*route.partition(" "), scopes) for route, scopes in _ACCEPTED.items() if "{" in route]
    return [(method, compile_path(path)[0], scopes) for method, _, path, scopes in parts]


UNLISTED = frozenset({Scope.admin})
"""The scope for whatever has no line in SCOPES, a path without a route too: a route that is forgotten is closed."""


def accepted(method: str, path: str) -> frozenset[Scope] | None:
    """The scopes of which a caller needs one for a request; None where anybody may ask.

    Args:
        method: of the request, or `gRPC`.
        path: of the request, or the name of the gRPC method.
    """
    method = "GET" if method == "HEAD" else method
    route = f"{method} {path}"
    if route in _ACCEPTED:
        return _ACCEPTED[route]
    for of_method, pattern, scopes in _templates():
        if of_method == method and pattern.match(path):
            return scopes
    return UNLISTED


def require_scopes(routes: Iterable[Any], rpcs: Iterable[str]) -> None:
    """Checks that SCOPES has every route, so that none is open, or closed, because somebody forgot it.

    Args:
        routes: of the FastAPI application.
        rpcs: names of the gRPC methods.

    Raises:
        RuntimeError: SCOPES has no line for one of them.
    """
    found = {*_named(routes), *(f"gRPC {name}" for name in rpcs)}
    if missing := sorted(found - set(SCOPES)):
        raise RuntimeError(f"{', '.join(missing)}: who may ask? Add a line to SCOPES in serve/access/scopes.py")


def _named(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """Method and path of each route, those of included routers and mounted files too, as SCOPES has them."""
    from starlette.routing import Mount

    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _named(included.routes, prefix + route.include_context.prefix)
            continue
        if isinstance(route, Mount):
            yield f"GET {prefix}{route.path}/{{path:path}}"
            continue
        for method in getattr(route, "methods", None) or {"WebSocket or other"}:
            if method != "HEAD":
                yield f"{method} {prefix}{route.path}"
