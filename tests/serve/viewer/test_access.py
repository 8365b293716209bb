"""Who may open the page."""

from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from serve.viewer.access import LOOPBACK, AccessGuard, with_token
from serve.viewer.config import PageConfig

TOKEN = "s3cret"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def client(
    host: str = "127.0.0.1:8090", token: str | None = None, names: tuple[str, ...] = LOOPBACK
) -> httpx.AsyncClient:
    guard = AccessGuard(app, names, token, 8090)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=f"http://{host}")


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:1", "LOCALHOST", "[::1]:8090"])
async def test_its_own_names(host: str) -> None:
    assert (await client(host).get("/")).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8090"])
async def test_a_foreign_name_is_refused(host: str) -> None:
    assert (await client(host).get("/")).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999"])
async def test_another_site_is_refused(origin: str) -> None:
    assert (await client().get("/", headers={"Origin": origin})).status_code == 403
    assert (await client().get("/", headers={"Origin": "http://127.0.0.1:8090"})).status_code == 200


async def test_the_token_comes_once_in_the_address_and_then_in_a_cookie() -> None:
    async with client("example.com", TOKEN, ()) as http:
        assert (await http.get("/?user=u")).status_code == 403
        assert (await http.get("/?token=other")).status_code == 403
        brought = await http.get(f"/items?item=a%20b&token={TOKEN}")
        assert brought.status_code == 303
        assert brought.headers["location"] == "/items?item=a+b"  # the token is not in the history of the browser
        assert "httponly" in brought.headers["set-cookie"].lower()
        assert (await http.get("/")).status_code == 200


@pytest.mark.parametrize("token", [TOKEN, "ab+cd/ef==", "a&b", "a#b", "a%41b", 'a "b"; c', "ключ"])
async def test_the_printed_address_brings_any_token(token: str) -> None:
    async with client("example.com", token, ()) as http:
        brought = await http.get(with_token("", token), follow_redirects=True)
        assert (brought.status_code, brought.text) == (200, "page")
        assert "token" not in str(brought.url)


async def test_a_redirect_stays_on_the_page() -> None:
    brought = await client("example.com", TOKEN, ()).get(f"//evil.example/?token={TOKEN}")
    assert not brought.headers["location"].startswith("//")


@pytest.fixture
def sent() -> Iterator[list[dict[str, object]]]:
    yield []


@pytest.mark.parametrize(
    ("headers", "kind"), [({}, "websocket.close"), ({"cookie": f"twotower_page_8090={TOKEN}"}, "websocket.accept")]
)
async def test_web_sockets_need_it_too(headers: dict[str, str], kind: str, sent: list[dict[str, object]]) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "path": "/", "query_string": f"token={TOKEN}".encode(),
        "headers": [(b"host", b"h"), *((k.encode(), v.encode()) for k, v in headers.items())],
    }  # fmt: skip
    await AccessGuard(app, (), TOKEN, 8090)(scope, receive, send)  # type: ignore[arg-type]
    assert sent[-1]["type"] == kind


def test_what_is_local() -> None:
    assert [PageConfig(host=h).is_local for h in ("127.0.0.1", "localhost", "::1", "127.9.9.9")] == [True] * 4
    assert [PageConfig(host=h).is_local for h in ("0.0.0.0", "::", "", "10.0.0.1", "a.example")] == [False] * 5
    assert PageConfig(host="::1", port=1).address == "http://[::1]:1"
