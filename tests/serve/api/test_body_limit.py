"""Bodies beyond the limits get 413 or 408 however they are sent, and none is waited for where it has no business."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from serve.api import body_limit
from serve.api.body_limit import DISCARDED, BodyLimit
from serve.api.limits import BODIES
from serve.deployment.ingress import api

MAX_BYTES = 10
CHUNK = b"12345"


def echoing(max_s: float) -> FastAPI:
    app = FastAPI()
    app.add_middleware(BodyLimit, max_bytes={"POST /": MAX_BYTES}, max_s=max_s)

    @app.post("/")
    @app.get("/")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    return app


HASTY, PATIENT = echoing(0.5), echoing(60)


async def send(app: FastAPI = HASTY, **content: object) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/", **content)  # type: ignore[arg-type]


class Chunks:
    """A body, and how many of its chunks were taken."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.taken += 1
            yield CHUNK


async def test_up_to_the_limit_passes() -> None:
    assert (await send(content=b"1234567890")).json() == "1234567890"
    assert (await send(content=Chunks(2))).json() == "1234512345"


@pytest.mark.parametrize(("count", "kept"), [(3, True), (2 * DISCARDED, True), (10_000, False)])
async def test_beyond_the_limit_is_413_after_a_bounded_rest(count: int, kept: bool) -> None:
    chunks = Chunks(count)
    declared = await send(content=CHUNK * count)
    streamed = await send(content=chunks)
    for answer in (declared, streamed):
        assert answer.status_code == 413
        assert "larger than 10 bytes" in answer.json()["detail"]
        assert ("connection" not in answer.headers) == kept
    assert chunks.taken == min(count, DISCARDED * MAX_BYTES // len(CHUNK) + 1)


async def test_a_body_that_never_ends_is_408() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b""
            await asyncio.sleep(0.05)

    answer = await send(content=trickle())
    assert answer.status_code == 408
    assert "not complete after 0.5 s" in answer.json()["detail"]
    assert answer.headers["connection"] == "close"


async def test_few_slow_bodies_are_waited_for_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a place of the replica: the others are refused, and bodies that come at once are answered."""
    monkeypatch.setattr(body_limit, "SOON_S", 0.1)
    monkeypatch.setattr(body_limit, "MAX_SLOW", 3)
    end = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"1"
        await end.wait()
        yield b"2"

    slow = [asyncio.create_task(send(PATIENT, content=slowly())) for _ in range(10)]
    done: set[asyncio.Task[httpx.Response]] = set()
    while len(done) < 7:
        done, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    refused = [task.result() for task in done]
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in refused} == {(503, "1")}
    assert (await send(PATIENT, content=b"1")).status_code == 200
    end.set()
    assert sorted([(await task).status_code for task in slow]) == [200] * 3 + [503] * 7
    again = [asyncio.create_task(send(PATIENT, content=slowly())) for _ in range(3)]
    assert [(await task).status_code for task in again] == [200] * 3, "those before take no room any more"


@pytest.mark.parametrize("headers", [{}, {"content-length": "1000"}], ids=["chunked", "length"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/", 405), ("DELETE", "/", 405), ("PATCH", "/", 405), ("GET", "/", 200), ("POST", "/nowhere", 404)],
)
async def test_a_body_without_business_is_not_waited_for(
    method: str, path: str, status: int, headers: dict[str, str]
) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(PATIENT)
    async with asyncio.timeout(20), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.request(method, path, content=never(), headers=headers)
        assert (answer.status_code, answer.headers["connection"]) == (status, "close")
        assert status != 200 or answer.json() == "", "it is as if there were none"
        complete = await client.request(method, path, content=b"1" * (MAX_BYTES + 1))
        assert (complete.status_code, "connection" in complete.headers) == (status, False)


def test_all_requests_with_a_body_have_a_limit() -> None:
    document = api.openapi()
    operations = (
        (f"{method.upper()} {path}", one) for path, of in document["paths"].items() for method, one in of.items()
    )
    assert {name for name, operation in operations if "requestBody" in operation} == set(BODIES)


@pytest.mark.parametrize("length", ["-1", "many", "1e9"])
async def test_a_false_length_is_413(length: str) -> None:
    assert (await send(content=b"1", headers={"content-length": length})).status_code == 413


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_a_compressed_body_is_415_that_names_the_header(encoding: str) -> None:
    refused = await send(content=CHUNK, headers={"Content-Encoding": encoding})
    assert (refused.status_code, encoding in refused.json()["detail"]) == (415, True)
    assert refused.json()["detail"].startswith("Content-Encoding: ")
    assert (await send(content=CHUNK, headers={"Content-Encoding": "Identity"})).status_code == 200
