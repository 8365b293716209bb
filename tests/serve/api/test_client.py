"""The client: limits are checked before anything is sent, and failures say what happened."""

import http.server
import threading
from collections.abc import Callable, Iterator
from types import MappingProxyType
from urllib.parse import unquote

import pydantic
import pytest

from serve.client import AsyncRecommendClient, EndpointError, RecommendClient

ODD_IDS: list[dict[str, str]] = [{"request_id": id_} for id_ in ("a b", "é", "a\n", "x" * 257)]


def test_limits_are_checked_here() -> None:
    with RecommendClient("http://127.0.0.1:1") as client:
        for fields in ({"k": 0}, {"k": 101}, {"user_id": ""}, {"history": ["i"] * 201}, {"kk": 3}, *ODD_IDS):
            with pytest.raises(pydantic.ValidationError):
                client.recommend(**fields)
        for ask in (client.user, client.forget, client.similar):
            for id_ in ("", " ", "x" * 257):
                with pytest.raises(pydantic.ValidationError):
                    ask(id_)
        for k in (0, 101):
            with pytest.raises(pydantic.ValidationError):
                client.similar("i1", k=k)


def test_a_key_is_sent_as_it_was_made_and_stands_in_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds a key ends with a line break, and so does a Secret of Kubernetes that is made of it."""
    monkeypatch.setenv("TWOTOWER_KEY", "ttr_0a_secret\n")
    with RecommendClient(address) as client, pytest.raises(EndpointError, match="asked: .* by Bearer ttr_0a_secret$"):
        client.live()
    for key in ("ttr_0a_secret\nttr_0b_secret", "ttr 0a_secret", "ttr_0ä_secret"):
        with pytest.raises(ValueError, match="TWOTOWER_KEY") as caught:
            RecommendClient(address, key=key)
        assert "secret" not in str(caught.value)


async def test_an_endpoint_that_is_not_there() -> None:
    with (
        RecommendClient("http://127.0.0.1:1") as client,
        pytest.raises(EndpointError, match="is `python -m serve.run` up"),
    ):
        client.live()
    async with AsyncRecommendClient("http://127.0.0.1:1") as other:
        with pytest.raises(EndpointError, match="no answer") as caught:
            await other.recommend(user_id="u")
    assert caught.value.status is None


class Answers(http.server.BaseHTTPRequestHandler):
    """Refuses everything, and says by which path it was asked; below /page it answers with a page."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200 if self.path.startswith("/page") else 404)
        self.end_headers()
        key = f" by {self.headers['Authorization']}" if "Authorization" in self.headers else ""
        self.wfile.write(f"asked: {self.path}{key}".encode())

    do_GET = do_POST = do_DELETE = answer  # the names that the standard library calls

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("id_", [".", "..", "...", "a/../b", "../live", "a b", "%2E", "ä?#&", "a/similar"])
def test_an_id_leads_to_no_other_path(address: str, id_: str) -> None:
    with RecommendClient(address) as client:
        for ask, path in (
            (client.user, "/v1/users/{}"),
            (client.forget, "/v1/users/{}"),
            (client.similar, "/v1/items/{}/similar"),
        ):
            with pytest.raises(EndpointError, match="asked: ") as refused:
                ask(id_)
            asked = str(refused.value).rpartition("asked: ")[2].partition("?k=")[0]
            assert asked.count("/") == path.count("/")
            assert unquote(asked) == path.format(id_)


async def test_the_requests_of_a_batch_come_in_any_sequence_of_mappings(address: str) -> None:
    for requests in ([{"k": 1}], ({"k": 1}, {"user_id": "u"}), [MappingProxyType({"k": 1})]):
        with RecommendClient(address) as client, pytest.raises(EndpointError, match="asked: /v1/recommend/batch"):
            client.recommend_batch(requests)
        async with AsyncRecommendClient(address) as other:
            with pytest.raises(EndpointError, match="asked: /v1/recommend/batch"):
                await other.recommend_batch(requests)
    with RecommendClient(address) as client, pytest.raises(pydantic.ValidationError, match=r"requests\.1\.k"):
        client.recommend_batch(({}, {"k": 0}))


async def test_an_answer_that_is_not_the_endpoints_is_no_fault_of_the_request(address: str) -> None:
    """As of a proxy that answers by itself, with a page and status 200."""
    with RecommendClient(f"{address}/page") as client:
        questions: list[Callable[[], object]] = [client.live, client.recommend, lambda: client.recommend_batch([{}])]
        for ask in questions:
            with pytest.raises(EndpointError, match="Invalid JSON") as caught:
                ask()
            assert caught.value.status == 200
    async with AsyncRecommendClient(f"{address}/page") as other:
        with pytest.raises(EndpointError, match="Invalid JSON"):
            await other.similar("i1")


@pytest.mark.parametrize(
    "wrong", ["localhost:8000", "127.0.0.1:8000", "recommender", "", "http://", "ftp://h", "http://h:a"]
)
@pytest.mark.parametrize("client", [RecommendClient, AsyncRecommendClient])
def test_an_address_that_is_none_is_refused_at_once(client: Callable[[str], object], wrong: str) -> None:
    """It was `no answer` with the first call."""
    with pytest.raises(ValueError, match=rf"^address: '{wrong}' .*http://localhost:8000"):
        client(wrong)
