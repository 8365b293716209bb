"""Whatever a request brings as its id, or in headers of Ray Serve, it is answered by an id that events may name.

The middleware, the contexts of gRPC and the functions that read headers are Ray's own.
"""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve import context, grpc_util
from ray.serve._private import http_util, proxy_request_response

from data.cluster.ray_compatibility.serve import serve_request_id
from data.cluster.ray_compatibility.serve_headers import (
    LONGEST_ID,
    check_context_id,
    check_headers,
    check_proxied_id,
)
from serve.api.limits import MAX_ID

FITTING = ["a", "7f8a2c1e-0001", "!~", 'a,b;c="d"', "x" * LONGEST_ID]
UNFIT = ["", "a b", "a\tb", "\xff", "\xc3\xa9", "x" * (LONGEST_ID + 1), "x" * 85_000]


def short(given: str) -> str:
    """The name of a case."""
    return f"{given[:8]!a} of {len(given)}"


async def passed(*headers: tuple[bytes, bytes]) -> tuple[dict[bytes, bytes], str]:
    """The headers that Ray's code sees, and the id in the answer."""
    copied = type("Middleware", (http_util.RequestIdMiddleware,), {"__call__": http_util.RequestIdMiddleware.__call__})
    names = {name: value for name, value in vars(http_util).items() if name.startswith("SERVE_")}
    check_headers(SimpleNamespace(RequestIdMiddleware=copied, **names))
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        seen.append(dict(message["headers"])[b"x-request-id"].decode())

    scope = {"type": "http", "headers": [(b"host", b"x"), *headers]}
    await copied(app)(scope, None, send)
    return seen[0], seen[1]


@pytest.mark.parametrize("given", FITTING, ids=short)
async def test_an_id_that_fits_is_kept(given: str) -> None:
    headers, answered = await passed((b"x-request-id", given.encode()))
    assert headers[b"x-request-id"].decode() == answered == given


@pytest.mark.parametrize("given", UNFIT, ids=short)
async def test_any_other_is_replaced(given: str) -> None:
    headers, answered = await passed((b"x-request-id", given.encode("latin-1")))
    assert headers[b"x-request-id"].decode() == answered
    assert len(answered) == 36
    _, other = await passed((b"x-request-id", given.encode("latin-1")))
    assert other != answered


async def test_of_several_none_counts() -> None:
    headers, answered = await passed((b"x-request-id", b"a"), (b"x-request-id", b"b"))
    assert headers[b"x-request-id"].decode() == answered
    assert len(answered) == 36


@pytest.mark.parametrize(
    "name",
    [
        "serve_multiplexed_model_id", "serve-multiplexed-model-id", "serve_multiplexed-model_id", "traceparent",
        "tracestate", "x-session-id", "x_session_id", "x-request-timeout-seconds", "x-request-disconnect-disabled",
    ],
)  # fmt: skip
async def test_bytes_that_are_no_text_do_not_reach_rays_functions(name: str) -> None:
    headers, _ = await passed((name.encode(), b"\xff"), (b"x-other", b"\xff"))
    assert headers.keys() == {b"host", b"x-other", b"x-request-id"}
    http_util.parse_request_timeout_header(headers, None)
    http_util.parse_disconnect_disabled_header(headers)
    http_util.parse_session_id_header(headers)
    kept, _ = await passed((name.encode(), b"1"))
    assert kept[name.encode()] == b"1"


class Called:
    """Ray's view of a call by gRPC."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        return lambda: None


@pytest.mark.parametrize("given", [*FITTING, *UNFIT], ids=short)
def test_the_same_over_grpc(given: str) -> None:
    of_replica = type("Context", (grpc_util.RayServegRPCContext,), {})
    check_context_id(SimpleNamespace(RayServegRPCContext=of_replica))
    expected = given if given in FITTING else None
    assert of_replica(Called(("request_id", given))).request_id() == expected
    assert of_replica(Called()).request_id() is None
    of_proxy = type("Request", (proxy_request_response.gRPCProxyRequest,), {})
    check_proxied_id(SimpleNamespace(gRPCProxyRequest=of_proxy))
    call = Called(("application", "recommender"), ("request_id", given))
    request = of_proxy(
        context=call, service_method="/twotower.v1.Recommender/Recommend", stream=False, request_proto=b""
    )
    assert (request.request_id, request.app_name) == (expected, "recommender")


@pytest.mark.parametrize("given", [*FITTING, *UNFIT], ids=short)
def test_without_these_changes_answers_have_an_id_all_the_same(given: str) -> None:
    token = context._serve_request_context.set(context._RequestContext(request_id=given))
    try:
        assert (serve_request_id() == given) is (given in FITTING)
        assert 1 <= len(serve_request_id()) <= LONGEST_ID
        assert len(serve_request_id(LONGEST_ID - 3)) <= LONGEST_ID - 3
    finally:
        context._serve_request_context.reset(token)


def test_processes_of_ray_serve_are_changed_so() -> None:
    code = """
import json
from data.cluster.ray_compatibility.serve import prepare_worker
prepare_worker()
import ray.serve._private.replica, ray.serve._private.proxy
from ray.serve._private import http_util, proxy_request_response, replica
from ray.serve.grpc_util import RayServegRPCContext
methods = (http_util.RequestIdMiddleware.__call__, RayServegRPCContext.request_id,
           proxy_request_response.gRPCProxyRequest.setup_variables, replica.RayServegRPCContext.request_id)
print(json.dumps([method.__module__ for method in methods]))
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(json.loads(said.splitlines()[-1])) == {check_headers.__module__}


def test_events_may_name_the_longest_id() -> None:
    assert LONGEST_ID == MAX_ID
