"""Each route of the endpoint says who may ask; one that nobody has thought of is refused."""

import re

import pytest
from fastapi import APIRouter, FastAPI

from serve.access.scopes import SCOPES, UNLISTED, Scope, _named, accepted, require_scopes
from serve.api import recommender_pb2 as pb
from serve.deployment.ingress import api

RPCS = list(pb.DESCRIPTOR.services_by_name["Recommender"].methods_by_name)


def test_every_route_has_a_scope_and_every_line_of_the_table_is_a_route() -> None:
    require_scopes(api.routes, RPCS)
    assert set(SCOPES) == {*_named(api.routes), *(f"gRPC {name}" for name in RPCS)}


def test_a_route_without_a_scope_is_refused() -> None:
    more = APIRouter()
    more.add_api_route("/secrets", lambda: None, methods=["DELETE"])
    including = FastAPI()
    including.include_router(more, prefix="/v1")
    for routes, rpcs, missing in ((including.routes, [], "DELETE /v1/secrets"), (api.routes, ["Leak"], "gRPC Leak")):
        with pytest.raises(RuntimeError, match=re.escape(missing) + r": who may ask\? Add a line to SCOPES"):
            require_scopes(routes, rpcs)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/recommend", Scope.recommend),
        ("GET", "/v1/items/a/b/similar", Scope.recommend),
        ("gRPC", "Recommend", Scope.recommend),
        ("POST", "/v1/events", Scope.events),
        ("gRPC", "PostEvents", Scope.events),
        ("GET", "/v1/users/a/b", Scope.read_users),
        ("HEAD", "/v1/users/a", Scope.read_users),
        ("DELETE", "/v1/users/a", Scope.admin),
        ("GET", "/static-offline-docs/swagger-ui.css", None),
        ("GET", "/healthz", None),
        ("HEAD", "/docs", None),
    ],
)
def test_the_scope_or_admin_is_accepted(method: str, path: str, scope: Scope | None) -> None:
    assert accepted(method, path) == (None if scope is None else {scope, Scope.admin})


@pytest.mark.parametrize(
    "path", ["/healthz/", "//healthz", "/v1/recommend/", "/healthz/../v1/recommend", "/HEALTHZ", ""]
)
def test_what_has_no_line_is_for_admins_alone(path: str) -> None:
    assert accepted("GET", path) == UNLISTED == {Scope.admin}
    assert accepted("DELETE", "/healthz") == UNLISTED
