"""Bodies beyond the limit get 413 however they are sent, and are not read to the end."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request

from serve.limits import BodyLimit

app = FastAPI()
app.add_middleware(BodyLimit, max_bytes=10)


@app.post("/")
async def echo(request: Request) -> str:
    return (await request.body()).decode()


async def send(**content: object) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/", **content)  # type: ignore[arg-type]


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"12345"


async def test_up_to_the_limit_passes() -> None:
    assert (await send(content=b"1234567890")).json() == "1234567890"
    assert (await send(content=chunks(2))).json() == "1234512345"


async def test_beyond_the_limit_is_413() -> None:
    for content in (b"12345678901", chunks(3), chunks(10_000)):
        answer = await send(content=content)
        assert answer.status_code == 413
        assert "larger than 10 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("length", ["-1", "many", "1e9"])
async def test_a_false_length_is_413(length: str) -> None:
    assert (await send(content=b"1", headers={"content-length": length})).status_code == 413
