"""Requests are admitted by the key that they show, over HTTP and gRPC, and refusals tell nothing about users."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI, Request

from serve.access import control as control_module
from serve.access.config import AuthConfig, AuthKind, KeyConfig
from serve.access.control import CALLER, AccessControl, caller_name, install
from serve.access.key_file import KeyFile
from serve.access.middleware import AccessMiddleware
from serve.access.scopes import Scope
from serve.api import recommender_pb2 as pb
from serve.api.body_limit import BodyLimit
from serve.api.grpc_service import for_callers
from serve.deployment.ingress import RecommenderIngress

app = FastAPI()
app.add_middleware(AccessMiddleware)
app.add_middleware(BodyLimit, max_bytes={"POST /v1/recommend": 1000}, max_s=5)


@app.post("/v1/recommend")
async def recommend(request: Request) -> dict[str, str]:
    return {"user": json.loads(await request.body())["user_id"], "caller": caller_name()}


@app.get("/healthz")
async def health() -> str:
    return "ok"


class Keys:
    """A file with the keys of `shop`, which may recommend, `log`, which may send events, and `root`."""

    def __init__(self, folder: Path) -> None:
        self.file = KeyFile.of(str(folder / "keys.json"))
        scopes = {"shop": Scope.recommend, "log": Scope.events, "root": Scope.admin}
        self.of = {name: self.file.add(name, KeyConfig(scopes=[scope])) for name, scope in scopes.items()}


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
async def control(keys: Keys) -> AsyncIterator[AccessControl]:
    control = await AccessControl.start(AuthConfig(kind=AuthKind.keys, file=str(keys.file), refresh_s=0.05))
    install(control)
    yield control
    install(AccessControl(None))


async def ask(
    *authorization: str,
    method: str = "POST",
    path: str = "/v1/recommend",
    body: str = "",
    host: str = "localhost:8000",
    origin: str | None = None,
) -> httpx.Response:
    headers = [("authorization", value) for value in authorization] + ([] if origin is None else [("origin", origin)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}") as client:
        return await client.request(method, path, content=body or '{"user_id": "u1"}', headers=headers)


async def test_a_key_with_the_scope_is_admitted_under_its_name(control: AccessControl, keys: Keys) -> None:
    assert (await ask(f"Bearer {keys.of['shop']}")).json() == {"user": "u1", "caller": "shop"}
    assert (await ask(f"bearer  {keys.of['root']} ")).json()["caller"] == "root"
    assert CALLER.get() is None
    assert control.take_calls() == {("shop", "admitted"): 1, ("root", "admitted"): 1}
    assert control.take_calls() == {}


async def test_others_are_refused(control: AccessControl, keys: Keys) -> None:
    shop = f"Bearer {keys.of['shop']}"
    for given in ((), ("Bearer",), ("Bearer nobody",), (f"Basic {keys.of['shop']}",), (shop, shop), (f"{shop}x",)):
        refused = await ask(*given)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), given
        assert keys.of["shop"] not in refused.text
    forbidden = await ask(f"Bearer {keys.of['log']}")
    assert (forbidden.status_code, forbidden.json()["detail"]) == (403, "key log: needs the scope recommend")
    assert control.take_calls() == {("", "unauthenticated"): 6, ("log", "forbidden"): 1}


async def test_what_needs_no_key_and_what_is_no_route(control: AccessControl, keys: Keys) -> None:
    assert (await ask(method="GET", path="/healthz")).status_code == 200
    assert (await ask(method="GET", path="/nowhere")).status_code == 401
    assert (await ask(f"Bearer {keys.of['root']}", method="GET", path="/nowhere")).status_code == 404
    assert (await ask(f"Bearer {keys.of['root']}", method="PUT", path="/v1/recommend")).status_code == 405
    refused = await ask(f"Bearer {keys.of['log']}", method="GET", path="/nowhere")
    detail = "key log: needs the scope admin (or the path or the method is wrong)"
    assert (refused.status_code, refused.json()["detail"]) == (403, detail)


async def test_a_refusal_is_the_same_for_every_user_and_body(control: AccessControl, keys: Keys) -> None:
    """It is made before the request is read: neither its text nor its time can depend on what is in it."""
    for given in ((), (f"Bearer {keys.of['log']}",)):
        refused = [
            await ask(*given, body=body) for body in ('{"user_id": "u1"}', '{"user_id": "nobody"}', "{", "[" * 900)
        ]
        assert len({(answer.status_code, answer.content, str(answer.headers)) for answer in refused}) == 1


async def test_changes_of_the_keys_are_followed(control: AccessControl, keys: Keys) -> None:
    shop = f"Bearer {keys.of['shop']}"
    app_key = f"Bearer {keys.file.add('app', KeyConfig())}"
    await becomes(200, app_key)
    keys.file.remove("shop")
    await becomes(401, shop)
    for name in ("log", "root", "app"):
        keys.file.remove(name)
    await becomes(401, app_key)
    assert control.following and control.following.is_running


async def test_keys_that_cannot_be_read_again_remain(control: AccessControl, keys: Keys) -> None:
    for spoil in (lambda: Path(str(keys.file)).write_text("{"), Path(str(keys.file)).unlink):
        spoil()
        await asyncio.sleep(0.2)
        assert (await ask(f"Bearer {keys.of['shop']}")).status_code == 200
        assert control.following and control.following.is_running


async def test_a_reading_that_hangs_is_said(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(control_module, "LATE_S", 0.02)
    monkeypatch.setattr(control_module, "log_failure", lambda place, error: said.append(f"{place}: {error}"))
    control = await AccessControl.start(AuthConfig(kind=AuthKind.keys, file=str(keys.file), refresh_s=0.01))
    hanging = threading.Event()
    monkeypatch.setattr(control_module, "read_records", lambda _: hanging.wait(30))
    async with asyncio.timeout(10):
        while not said:
            await asyncio.sleep(0.01)
    hanging.set()
    assert said[0] == "who may ask cannot be read again; what was known remains: no answer in 0.02 s"
    assert control.following and control.following.is_running


async def becomes(status: int, authorization: str) -> None:
    async with asyncio.timeout(10):
        while (await ask(authorization)).status_code != status:
            await asyncio.sleep(0.02)


async def test_where_nobody_is_asked_everybody_is_admitted_and_without_a_control_nobody() -> None:
    install(await AccessControl.start(AuthConfig()))
    assert (await ask()).json() == {"user": "u1", "caller": ""}
    control_module._installed.clear()
    with pytest.raises(RuntimeError, match="no access control is installed"):
        await ask()


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "127.1.2.3"])
@pytest.mark.parametrize("origin", [None, "http://localhost:3000", "https://127.0.0.1"])
async def test_an_endpoint_on_loopback_answers_this_machine(host: str, origin: str | None) -> None:
    install(await AccessControl.start(AuthConfig()))
    assert (await ask(host=host, origin=origin)).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example:8000", None),  # a name that leads to 127.0.0.1 by now
        ("127.0.0.1.evil.example", None),
        ("evil.example", "http://evil.example"),
        ("localhost:8000", "https://evil.example"),  # a page that posts events
        ("localhost:8000", "null"),
        ("localhost:8000", "http://[x"),
    ],
)
async def test_an_endpoint_on_loopback_answers_no_web_site_of_elsewhere(host: str, origin: str | None) -> None:
    control = await AccessControl.start(AuthConfig())
    install(control)
    refused = await ask(host=host, origin=origin)
    assert refused.status_code == 403
    assert "call this endpoint by a name of this machine itself, such as localhost" in refused.json()["detail"]
    assert control.take_calls() == {("", "forbidden"): 1}
    assert (await ask(method="GET", path="/healthz", host=host, origin=origin)).status_code == 200, "says nothing"
    install(await AccessControl.start(AuthConfig(kind=AuthKind.none)))
    assert (await ask(host=host, origin=origin)).status_code == 200, "what is in front of it has asked"


async def test_callers_beyond_a_number_share_a_name_in_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "MAX_NAMES", 2)
    control = AccessControl(None)
    for name in ("a", "b", "c", "d", "a"):
        control._count(name, "admitted")
    assert control.take_calls() == {("a", "admitted"): 2, ("b", "admitted"): 1, ("(others)", "admitted"): 2}


class Call:
    """The context of a gRPC call with these metadata."""

    def __init__(self, *authorization: str) -> None:
        self._metadata = [("user-agent", "x"), *(("authorization", value) for value in authorization)]
        self.code: grpc.StatusCode | None = None
        self.details = ""

    def invocation_metadata(self) -> list[tuple[str, Any]]:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


async def test_the_same_over_grpc(control: AccessControl, keys: Keys) -> None:
    class Service:
        @for_callers(pb.RecommendResponse)
        async def Recommend(self, message: pb.RecommendRequest, grpc_context: Call) -> pb.RecommendResponse:
            return pb.RecommendResponse(request_id=f"{caller_name()} for {message.user_id}")

    async def call(*given: str) -> tuple[str, grpc.StatusCode | None]:
        context = Call(*given)
        reply = await Service().Recommend(pb.RecommendRequest(user_id="u1"), context)
        return reply.request_id, context.code

    assert await call(f"Bearer {keys.of['shop']}") == ("shop for u1", None)
    assert await call() == ("", grpc.StatusCode.UNAUTHENTICATED)
    assert await call(f"Bearer {keys.of['log']}") == ("", grpc.StatusCode.PERMISSION_DENIED)
    install(AccessControl(None))
    assert await call() == (" for u1", None)


def test_every_grpc_method_of_the_endpoint_asks() -> None:
    methods = pb.DESCRIPTOR.services_by_name["Recommender"].methods_by_name
    assert {name for name in methods if hasattr(getattr(RecommenderIngress, name), "__wrapped__")} == set(methods)
