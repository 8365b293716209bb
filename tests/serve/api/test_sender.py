"""The senders of events against servers that refuse: no event is lost, and `close` keeps to its time."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serve.api.events import unsent
from serve.api.problems import EVENTS_OFF
from serve.client import (
    AsyncEventSender,
    AsyncRecommendClient,
    EventSender,
    EventsNotSent,
    EventsOffError,
    RecommendClient,
)

Answer = tuple[int, dict[str, str], str]
PAST = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
TAKEN: Answer = (202, {}, '{"accepted": 1, "duplicates": 0}')
ODD: list[Answer] = [
    (503, PAST, ""),
    (503, {"Retry-After": "soon"}, ""),
    (202, {}, "<html>a proxy's page</html>"),
    (422, {}, '{"accepted": "some"}'),
    (422, {}, "<html>accepted</html>"),
    (404, {}, "Path '/v1/events' not found."),  # of a proxy, while the endpoint starts
]
WITHIN_S = 30


class Endpoint:
    """A server that gives one answer after another, and then the last one always."""

    def __init__(self, address: str, answers: list[Answer]) -> None:
        self.address, self.answers = address, answers
        self.bodies: list[list[str]] = []

    def next(self, body: bytes) -> Answer:
        self.bodies.append([event["item_id"] for event in json.loads(body)["events"]])
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def serving(*answers: Answer) -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, headers, text = endpoint.next(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}", list(answers))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield endpoint
        server.shutdown()
        thread.join()


def add(sender: EventSender | AsyncEventSender, item_id: str) -> None:
    sender.add(user_id="u", item_id=item_id, type="click")


def wait_for(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("odd", ODD)
def test_an_answer_of_any_kind_is_tried_again(odd: Answer) -> None:
    with serving(odd, TAKEN) as endpoint, RecommendClient(endpoint.address) as client:
        with EventSender(client, every_s=0.01) as sender:
            add(sender, "a")
        assert endpoint.bodies == [["a"], ["a"]]


@pytest.mark.parametrize("odd", ODD)
async def test_an_answer_of_any_kind_is_tried_again_by_the_asynchronous_sender(odd: Answer) -> None:
    with serving(odd, TAKEN) as endpoint:
        async with (
            AsyncRecommendClient(endpoint.address) as client,
            AsyncEventSender(client, every_s=0.01) as sender,
        ):
            add(sender, "a")
        assert endpoint.bodies == [["a"], ["a"]]


def test_events_that_are_not_taken_are_in_the_error() -> None:
    with serving((202, {}, "<html>")) as endpoint, RecommendClient(endpoint.address) as client:
        sender = EventSender(client, every_s=0.01)
        add(sender, "a")
        with pytest.raises(
            EventsNotSent, match=r"(?s)1 events were not taken by the endpoint .*Invalid JSON"
        ) as caught:
            sender.close(timeout_s=0.3)
    assert [event["item_id"] for event in caught.value.events] == ["a"]
    assert caught.value.__cause__ is not None


async def test_events_of_a_cancelled_sender_are_in_the_error() -> None:
    async with AsyncRecommendClient("http://127.0.0.1:1") as client:
        sender = AsyncEventSender(client, every_s=60)
        add(sender, "a")
        await asyncio.sleep(0)
        sender._task.cancel()
        await asyncio.wait([sender._task])
        with pytest.raises(EventsNotSent) as caught:
            await sender.close()
    assert [event["item_id"] for event in caught.value.events] == ["a"]


def test_close_tries_at_once_however_long_the_endpoint_asks_to_wait() -> None:
    """The test would take an hour otherwise."""
    with serving((429, {"Retry-After": "3600"}, ""), TAKEN) as endpoint, RecommendClient(endpoint.address) as client:
        sender = EventSender(client, every_s=0.01)
        add(sender, "a")
        wait_for(lambda: len(endpoint.bodies) == 1)
        add(sender, "b")
        sender.close()
    assert endpoint.bodies == [["a"], ["a", "b"]]


async def test_closing_the_asynchronous_sender_tries_at_once() -> None:
    with serving((429, {"Retry-After": "3600"}, ""), TAKEN) as endpoint:
        async with AsyncRecommendClient(endpoint.address) as client:
            sender = AsyncEventSender(client, every_s=0.01)
            add(sender, "a")
            while not endpoint.bodies:
                await asyncio.sleep(0.01)
            add(sender, "b")
            await sender.close()
    assert endpoint.bodies == [["a"], ["a", "b"]]


def test_close_ends_in_its_time_with_a_last_attempt_before_it_is_over() -> None:
    """One attempt before `close`, one at once, and one just before the end; the endpoint asks for an hour each time."""
    with serving((429, {"Retry-After": "3600"}, "")) as endpoint, RecommendClient(endpoint.address) as client:
        sender = EventSender(client, every_s=0.01)
        add(sender, "a")
        wait_for(lambda: len(endpoint.bodies) == 1)
        with pytest.raises(EventsNotSent, match="429"):
            sender.close(timeout_s=1)
        assert len(endpoint.bodies) >= 2
        with pytest.raises(RuntimeError, match="closed"):
            add(sender, "b")


def test_a_sender_that_has_no_time_tries_once() -> None:
    with serving(TAKEN) as endpoint, RecommendClient(endpoint.address) as client:
        sender = EventSender(client, every_s=60)
        add(sender, "a")
        sender.close(timeout_s=0)
    assert endpoint.bodies == [["a"]]


def test_a_sender_keeps_the_latest_refused_events_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose events are refused, as after a type was renamed, grew by each of them for as long as it lived."""
    monkeypatch.setattr(unsent, "MAX_REFUSED", 3)
    wrong_event = {"type": "value_error", "loc": ["body", "events", 0, "type"]}
    problems = [wrong_event | {"msg": f"{name}: no"} for name in ("type", "time")]
    wrong = {"accepted": 0, "duplicates": 0, "detail": problems}
    with serving((422, {}, json.dumps(wrong))) as endpoint, RecommendClient(endpoint.address) as client:
        with EventSender(client, batch=1, every_s=0.01) as sender:
            for item_id in "abcde":
                add(sender, item_id)
        assert len(endpoint.bodies) == 5
    assert [(event["item_id"], event["problem"]) for event in sender.refused] == [
        ("d", "time: no"), ("e", "type: no"), ("e", "time: no"),
    ]  # fmt: skip
    assert sender.num_refused == 5


def test_events_that_the_endpoint_does_not_keep_are_refused() -> None:
    off: Answer = (404, {}, json.dumps({"detail": f"{EVENTS_OFF}; events=redis keeps them"}))
    with serving(off) as endpoint, RecommendClient(endpoint.address) as client:
        with EventSender(client, every_s=60) as sender:
            add(sender, "a")
            add(sender, "b")
        with pytest.raises(EventsOffError, match="events=redis keeps them"):
            client.send_events([{"event_id": "1", "user_id": "u", "item_id": "c", "type": "click"}])
    assert endpoint.bodies == [["a", "b"], ["c"]]
    assert [event["item_id"] for event in sender.refused] == ["a", "b"]
    assert EVENTS_OFF in sender.refused[0]["problem"]
