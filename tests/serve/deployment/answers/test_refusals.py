"""What the ingress says of requests that it does not answer: in time, the same over HTTP and gRPC, and no secrets."""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.sources.event_log.users import HASH_KEY
from serve.access.config import AuthConfig, AuthKind, KeyConfig
from serve.access.key_file import KeyFile
from serve.access.scopes import Scope
from serve.api import recommender_pb2 as pb
from serve.deployment.answering import RequestAnswerer
from serve.deployment.replica import ReplicaSettings
from serve.deployment.settings import StalePointer
from serve.observability.request_times import RequestTimes
from serve.pipeline.user_encoder import UserEncoder
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.releases.made import made_release
from tests.serve.ingress_alone import IngressAlone, ingress_alone

LONG_S = 30
"""Seconds after which a test ends in which something hangs: far beyond the deadlines of its requests."""

Start = Callable[..., AbstractAsyncContextManager[IngressAlone]]

ITEM, USER = "i00001", "u00001"
ASKED: list[tuple[tuple[str, str, Any], tuple[str, Any]]] = [
    (("POST", "/v1/recommend", {"user_id": USER}), ("Recommend", pb.RecommendRequest(user_id=USER))),
    (("POST", "/v1/recommend/batch", {"requests": [{}]}), ("RecommendBatch", pb.BatchRequest(requests=[{}]))),
    (("POST", "/v1/similar", {"item_ids": [ITEM]}), ("Similar", pb.SimilarRequest(item_ids=[ITEM]))),
    (("GET", f"/v1/users/{USER}", None), ("GetUser", pb.UserRequest(user_id=USER))),
]
"""Requests that need a release, over HTTP and over gRPC."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of an endpoint with a live release that nothing was trained for."""
    root = tmp_path_factory.mktemp("made")
    values = [f"storage.root={root}", f"index.uri={root}/milvus.db", "tracking=off", "index.timeout_s=60"]
    config = load([*values, "serve.poll_s=0.05", "serve.lease_s=0.2", "serve.timeout_ms=300"])
    ReleaseRegistry.of(Folder.of(str(root))).promote(made_release(config, 300, 200, seed=1))
    return config


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The storage of the live pointer, which hangs while this event is not set."""
    answers, read = threading.Event(), ReleaseRegistry.live
    answers.set()

    def reading(registry: ReleaseRegistry) -> LivePointer | None:
        answers.wait(LONG_S)
        return read(registry)

    monkeypatch.setattr(ReleaseRegistry, "live", reading)
    return answers


@pytest.fixture
def start(config: Config, storage: threading.Event, tmp_path: Path) -> Start:
    """Starts a replica with events of its own, by other values of the section `serve`, and by who may ask."""

    @asynccontextmanager
    async def starting(auth: AuthConfig = config.auth, **values: Any) -> AsyncIterator[IngressAlone]:
        events = replace(config.events, path=str(tmp_path / "events.sqlite"))
        served = replace(config, serve=replace(config.serve, **values), auth=auth)
        async with ingress_alone(ReplicaSettings.of(served, events)) as endpoint:
            yield endpoint
            storage.set()

    return starting


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[AuthConfig, KeyFile]:
    monkeypatch.setenv(HASH_KEY, "0123456789abcdef")
    file = KeyFile.of(str(tmp_path / "keys.json"))
    return AuthConfig(kind=AuthKind.keys, file=str(file)), file


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Route and HTTP status of each request that metrics count."""
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(RequestTimes, "record", lambda _, route, started, code: seen.append((route, code)))
    return seen


async def stale(endpoint: IngressAlone, storage: threading.Event) -> None:
    storage.clear()
    await until(lambda: endpoint.replica._releases.is_stale)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_stale_pointer_is_refused_where_the_config_says_so(start: Start, storage: threading.Event) -> None:
    async with start(stale_pointer=StalePointer.refuse) as endpoint, asyncio.timeout(LONG_S):
        await stale(endpoint, storage)
        of_http = [("GET", f"/v1/items/{ITEM}/similar", None), ("GET", "/v1/releases/live", None)]
        for method, path, json in [*of_http, *(http for http, _ in ASKED)]:
            refused = await endpoint.http(method, path, json=json)
            assert (refused.status_code, refused.headers.get("retry-after")) == (503, "1"), path
            assert "serve.stale_pointer=refuse" in refused.json()["detail"]
        for name, message in (call for _, call in ASKED):
            call = await endpoint.grpc(name, message)
            assert (call.code, "serve.stale_pointer=refuse" in call.details) == (grpc.StatusCode.UNAVAILABLE, True)
        ready = await endpoint.http("GET", "/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (503, ["live pointer stale"])
        storage.set()
        await until(lambda: not endpoint.replica._releases.is_stale)
        assert (await endpoint.http("POST", "/v1/recommend", json={})).json()["stale"] is False


async def test_a_stale_pointer_is_said_with_the_answer_otherwise(start: Start, storage: threading.Event) -> None:
    async with start(stale_pointer=StalePointer.answer) as endpoint, asyncio.timeout(LONG_S):
        await stale(endpoint, storage)
        for (method, path, json), (name, message) in ASKED[:3]:
            (answer, *_) = (found := (await endpoint.http(method, path, json=json)).json()).get("responses", [found])
            reply = (await endpoint.grpc(name, message)).reply
            assert (answer["stale"], (reply.responses[0] if name == "RecommendBatch" else reply).stale) == (True, True)
        ready = await endpoint.http("GET", "/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (200, ["live pointer stale"])


async def test_a_question_about_a_user_has_a_deadline(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the stage that knows the histories hangs, and is left out after a while like in other requests."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    async with start(breaker_failures=3, breaker_pause_s=LONG_S) as endpoint, asyncio.timeout(LONG_S):
        assert (await endpoint.http("GET", f"/v1/users/{USER}")).json()["release_history"]
        monkeypatch.setattr(UserEncoder, "__call__", hang)
        late = await endpoint.http("GET", f"/v1/users/{USER}")
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        assert late.json()["detail"] == "the history of the user is not known now (embed_late), try again"
        call = await endpoint.grpc("GetUser", pb.UserRequest(user_id=USER))
        assert (call.code, call.details) == (grpc.StatusCode.UNAVAILABLE, late.json()["detail"])
        await endpoint.http("GET", f"/v1/users/{USER}")
        assert "(embed_skipped)" in (await endpoint.http("GET", f"/v1/users/{USER}")).json()["detail"]


async def test_a_request_waits_for_the_storage_by_its_own_deadline(start: Start, storage: threading.Event) -> None:
    long_ms = 10_000 * LONG_S
    async with start(timeout_ms=long_ms, max_timeout_ms=long_ms) as endpoint, asyncio.timeout(LONG_S):
        for path, asked in (("/v1/similar", {"item_ids": [ITEM]}), ("/v1/recommend", {})):
            await stale(endpoint, storage)
            answer = await endpoint.http("POST", path, json={**asked, "timeout_ms": 100})
            assert (answer.status_code, answer.json()["stale"]) == (200, True)
            storage.set()
            await until(lambda: not endpoint.replica._releases.is_stale)


@pytest.mark.parametrize(("http", "call"), ASKED, ids=[name for _, (name, _) in ASKED])
async def test_an_error_that_nobody_foresaw_tells_nothing(
    http: Any, call: Any, start: Start, counted: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("Traceback of a stage, with /a/path/of/a/machine")

    for name in ("recommend", "recommend_batch", "similar", "user"):
        monkeypatch.setattr(RequestAnswerer, name, fail, raising=False)
    async with start() as endpoint:
        failed = await endpoint.http(http[0], http[1], json=http[2])
        assert (failed.status_code, failed.text) == (500, "Internal Server Error")
        same = await endpoint.grpc(*call)
        assert (same.code, same.details) == (grpc.StatusCode.INTERNAL, "Internal Server Error")
    assert ([code for _, code in counted], counted[1][0]) == ([500, 500], f"grpc {call[0]}")


async def test_what_is_refused_is_no_error_and_what_is_stale_is_one(
    start: Start, storage: threading.Event, counted: list[tuple[str, int]], keys: tuple[AuthConfig, KeyFile]
) -> None:
    auth, file = keys
    key = file.add("shop", KeyConfig(scopes=[Scope.recommend], rate="5/hour"))
    async with start(auth, stale_pointer=StalePointer.refuse) as endpoint, asyncio.timeout(LONG_S):
        await stale(endpoint, storage)
        await endpoint.http("POST", "/v1/recommend", key, json={})
        assert (await endpoint.grpc("Recommend", pb.RecommendRequest(), key)).code is grpc.StatusCode.UNAVAILABLE
        batch = {"requests": [{}] * 9}
        assert (await endpoint.http("POST", "/v1/recommend/batch", key, json=batch)).status_code == 429
        call = await endpoint.grpc("RecommendBatch", pb.BatchRequest(**batch), key)
        assert call.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await endpoint.http("GET", f"/v1/users/{USER}")).status_code == 401
        assert (await endpoint.grpc("GetUser", pb.UserRequest())).code is grpc.StatusCode.UNAUTHENTICATED
    assert [code for _, code in counted] == [503, 503, 429, 429, 401, 401]
    assert [route for route, _ in counted[1::2]] == ["grpc Recommend", "grpc RecommendBatch", "grpc GetUser"]


async def test_a_user_is_named_by_the_same_ids_over_both(start: Start) -> None:
    async with start() as endpoint:
        for wrong in ("%20", "x" * 257):
            for method, name in (("GET", "GetUser"), ("DELETE", "ForgetUser")):
                assert (await endpoint.http(method, f"/v1/users/{wrong}")).status_code == 422
                call = await endpoint.grpc(name, pb.UserRequest(user_id=wrong.replace("%20", " ")))
                assert (call.code, call.details[:9]) == (grpc.StatusCode.INVALID_ARGUMENT, "user_id: ")
        assert (await endpoint.http("GET", f"/v1/users/%20{USER}")).json()["user_id"] == USER
        assert (await endpoint.grpc("GetUser", pb.UserRequest(user_id=f" {USER}"))).reply.user_id == USER
        assert (await endpoint.http("GET", f"/v1/items/%20{ITEM}/similar")).status_code == 200
        assert (await endpoint.http("GET", "/v1/items/nothing/similar")).status_code == 404


async def test_who_may_not_read_users_does_not_learn_who_was_forgotten(
    start: Start, keys: tuple[AuthConfig, KeyFile]
) -> None:
    """Each sends an event from before, sends it again, and sends another one under its id."""
    auth, file = keys
    sender = file.add("log", KeyConfig(scopes=[Scope.events]))
    reader = file.add("desk", KeyConfig(scopes=[Scope.events, Scope.read_users]))
    root = file.add("root", KeyConfig(scopes=[Scope.admin]))
    before = time.time() - 60
    async with start(auth) as endpoint:
        assert (await endpoint.http("DELETE", "/v1/users/gone", root)).status_code == 200

        async def told(user_id: str, key: str) -> list[Any]:
            event = {"event_id": uuid.uuid4().hex, "user_id": user_id, "item_id": ITEM, "type": "click", "time": before}
            answers = []
            for sent in ([event, event], [event], [{**event, "value": 1.0}]):
                answer = await endpoint.http("POST", "/v1/events", key, json={"events": sent})
                answers.append((answer.status_code, answer.json()))
                again = [pb.Event(**{**one, "event_id": f"{one['event_id']}-grpc"}) for one in sent]
                call = await endpoint.grpc("PostEvents", pb.EventsRequest(events=again), key)
                answers.append((call.code, call.details, call.reply))
            return answers

        assert await told("gone", sender) == await told("there", sender)
        refused = await told("gone", reader)
        said = refused[0][1]["detail"][0]["msg"]
        assert (refused[0][0], "the user was forgotten after the event happened" in said) == (422, True)
        assert (refused[1][0], "was forgotten" in refused[1][1]) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        known = (await endpoint.http("GET", "/v1/users/gone", reader)).json()
        assert (known["events"], known["seen"], known["counts"]) == ([], [], {})
        assert len((await endpoint.http("GET", "/v1/users/there", reader)).json()["events"]) == 2
