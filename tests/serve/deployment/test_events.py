"""Events at the endpoint: they change the next answer, are refused one by one, and are forgotten with their user."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.forgetting import logged_user
from data.sources.event_log.users import user_key
from serve.api import recommender_pb2 as pb
from serve.api.recommender_pb2_grpc import RecommenderStub
from serve.client import AsyncEventSender, AsyncRecommendClient, EventSender, EventsRefusedError, RecommendClient
from serve.demonstration.requests import send_example_events
from serve.releases.release import Release
from tests.serve.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(fused: tuple[str, str]) -> str:
    return fused[0]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[RecommendClient]:
    with RecommendClient(address, timeout_s=30) as client:
        yield client


@pytest.fixture
def user() -> str:
    """A user whom neither the release nor the state knows."""
    return f"new-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def item_ids(release: Release) -> list[str]:
    counts_I = release.parts.counts_I
    ids: list[str] = release.parts.items.ids.ids(np.flatnonzero(counts_I > 0)[:20]).to_pylist()
    return ids


@pytest.fixture
def other_user(client: RecommendClient, release: Release, known_user: str) -> str:
    """Another user of the release, of whom no event tells."""
    rows = np.flatnonzero(release.parts.seen.lengths_U > 0)
    ids: list[str] = release.parts.users.ids.ids(rows).to_pylist()
    others = (client.user(id_) for id_ in ids if id_ != known_user)
    return next(user.user_id for user in others if not user.events and user.forgotten is None)


def event(user_id: str, item_id: str, **fields: Any) -> dict[str, Any]:
    return {"event_id": uuid.uuid4().hex, "user_id": user_id, "item_id": item_id, "type": "click"} | fields


def test_the_first_event_of_an_unknown_user_changes_the_next_answer(
    client: RecommendClient, user: str, item_ids: list[str]
) -> None:
    assert client.recommend(user_id=user, k=10).source == "popular"
    sent = client.send_events([event(user, item_ids[0])])
    assert (sent.accepted, sent.duplicates) == (1, 0)
    answer = client.recommend(user_id=user, k=10)
    assert (answer.source, answer.degraded) == ("towers", False)
    assert item_ids[0] not in [item.id for item in answer.items]
    same = client.recommend(history=item_ids[:1], k=10)
    assert [item.id for item in answer.items] == [item.id for item in same.items]
    assert "state" in answer.timings_ms


def test_what_a_known_user_bought_is_not_offered_again(client: RecommendClient, known_user: str) -> None:
    first = client.recommend(user_id=known_user, k=5)
    bought, viewed = first.items[0].id, first.items[1].id
    client.send_events([event(known_user, bought), event(known_user, viewed, type="view")])
    after = client.recommend(user_id=known_user, k=100)
    ids = [item.id for item in after.items]
    assert bought not in ids
    assert viewed in ids, "a view is no purchase"
    assert [item.id for item in first.items] != ids[:5]
    with_seen = client.recommend(user_id=known_user, k=100, exclude_seen=False)
    assert bought in [item.id for item in with_seen.items]


def test_a_dismissed_item_does_not_come_back_and_says_nothing_of_taste(
    client: RecommendClient, user: str, item_ids: list[str]
) -> None:
    popular = client.recommend(user_id=user, k=3).items
    client.send_events([event(user, popular[0].id, type="dismiss")])
    answer = client.recommend(user_id=user, k=2)
    assert answer.source == "popular"
    assert [item.id for item in answer.items] == [item.id for item in popular[1:]]


def test_a_user_can_be_shown_and_forgotten(client: RecommendClient, other_user: str, item_ids: list[str]) -> None:
    at = time.time() - 60
    sent = [event(other_user, item_ids[0], time=at, value=3.5, context={"daypart": "evening"})]
    client.send_events(sent)
    known = client.user(other_user)
    assert [(e.item_id, e.type, e.value, e.context) for e in known.events] == [
        (item_ids[0], "click", 3.5, {"daypart": "evening"})
    ]
    assert known.events[0].time.timestamp() == pytest.approx(at, abs=1e-3)
    assert (known.seen, known.counts["click"].total) == ([item_ids[0]], 1)
    assert known.release_history
    assert known.forgotten is None
    forgotten = client.forget(other_user).forgotten
    after = client.user(other_user)
    assert (after.events, after.seen, after.counts, after.release_history) == ([], [], {}, [])
    assert after.forgotten == forgotten
    assert client.recommend(user_id=other_user, k=3).source == "popular", "the release's history does not count either"
    with pytest.raises(EventsRefusedError, match="was forgotten after the event happened") as caught:
        client.send_events([event(other_user, item_ids[1], time=at), event(other_user, item_ids[2])])
    assert caught.value.accepted == 1
    assert [e.item_id for e in client.user(other_user).events] == [item_ids[2]]


def test_each_event_is_accepted_or_refused_by_itself(address: str, client: RecommendClient, user: str) -> None:
    taken = event(user, "i1")
    client.send_events([taken])
    now = time.time()
    batch = [
        event(user, "i2"),
        event(user, "i3", type="sneeze"),
        taken,
        event(user, "i4", time=now + 3600),
        event(user, "i5", time="2001-01-01T00:00:00Z"),
        event(user, "i6", value=1e13),
        taken | {"item_id": "i7"},
        event(user, "x" * 257),
        {"user_id": user},
        event(user, "i8", time=now - 5),
        event(user, "i\x009"),
        event(user, "i10", context={"channel": 3}),
    ]
    answer = httpx.post(f"{address}/v1/events", json={"events": batch})
    assert answer.status_code == 422, answer.text
    found = answer.json()
    assert (found["accepted"], found["duplicates"]) == (2, 1)
    places = {(problem["loc"][2], problem["loc"][3]) for problem in found["detail"]}
    assert places == {
        (1, "type"), (3, "time"), (4, "time"), (5, "value"), (6, "event_id"), (7, "item_id"), (8, "event_id"),
        (8, "item_id"), (8, "type"), (10, "item_id"), (11, "context"),
    }  # fmt: skip
    assert [e.item_id for e in client.user(user).events] == ["i8", "i1", "i2"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"events": []}, ["body", "events"]),
        ({"events": [event("u", "i")] * 501}, ["body", "events"]),
        ({"events": 3}, ["body", "events"]),
        ({}, ["body", "events"]),
        ({"events": [event("u", "i")], "more": 1}, ["body", "more"]),
        ([], ["body"]),
    ],
)
def test_a_body_that_is_refused_as_a_whole(address: str, body: Any, place: list[str]) -> None:
    answer = httpx.post(f"{address}/v1/events", content=json.dumps(body))
    assert answer.status_code == 422, answer.text
    assert (answer.json()["accepted"], answer.json()["detail"][0]["loc"]) == (0, place)


def test_limits_of_size(address: str, client: RecommendClient, user: str) -> None:
    many = [event(user, f"i{n}", context={f"name{m}": "x" * 50 for m in range(4)}) for n in range(500)]
    assert len(json.dumps(many)) > 65_536
    assert client.send_events(many).accepted == 500
    assert httpx.post(f"{address}/v1/events", content=b" " * 1_048_577).status_code == 413


def test_grpc_takes_and_refuses_the_same(fused: tuple[str, str], client: RecommendClient, user: str) -> None:
    with grpc.insecure_channel(fused[1]) as channel:
        stub = RecommenderStub(channel)
        sent = pb.Event(event_id=uuid.uuid4().hex, user_id=user, item_id="i1", type="click", value=2.0)
        taken = stub.PostEvents(pb.EventsRequest(events=[sent, sent]))
        assert (taken.accepted, taken.duplicates) == (1, 1)
        known = stub.GetUser(pb.UserRequest(user_id=user))
        assert [(e.item_id, e.value) for e in known.events] == [("i1", 2.0)]
        wrong = pb.Event(event_id="x", user_id=user, item_id="i2", type="sneeze")
        with pytest.raises(
            grpc.RpcError, match=r"accepted 0, duplicates 1; refused events\.1\.type: type: 'sneeze'"
        ) as e:
            stub.PostEvents(pb.EventsRequest(events=[sent, wrong]))
        assert e.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert stub.ForgetUser(pb.UserRequest(user_id=user)).forgotten
        assert client.user(user).events == []


def test_a_sender_loses_nothing_on_close(client: RecommendClient, user: str) -> None:
    with EventSender(client, batch=7, every_s=60) as sender:
        for number in range(100):
            sender.add(user_id=user, item_id=f"i{number}", type="click")
        wrong = sender.add(user_id=user, item_id="i", type="sneeze")
    assert client.user(user).counts["click"].total == 100
    assert [refused["event_id"] for refused in sender.refused] == [wrong]


async def test_an_asynchronous_sender_loses_nothing_on_close(address: str, user: str) -> None:
    async with AsyncRecommendClient(address, timeout_s=30) as client:
        async with AsyncEventSender(client, batch=7, every_s=60) as sender:
            for number in range(100):
                sender.add(user_id=user, item_id=f"i{number}", type="click")
        assert (await client.user(user)).counts["click"].total == 100
        assert (await client.forget(user)).user_id == user


def test_each_answer_is_in_the_decision_log_with_its_candidates(
    address: str, client: RecommendClient, known_user: str, tiny: Config
) -> None:
    """The answers of a batch are told apart, and the items that were shown are the first candidates."""
    id_ = uuid.uuid4().hex
    one = {"user_id": known_user, "k": 5, "context": {"daypart": "evening"}}
    answer = httpx.post(f"{address}/v1/recommend", json=one, headers={"X-Request-Id": id_}).json()
    both = {"requests": [one, {"k": 3}]}
    batch = httpx.post(f"{address}/v1/recommend/batch", json=both, headers={"X-Request-Id": f"{id_}-b"})
    httpx.get(f"{address}/v1/items/{answer['items'][0]['id']}/similar?k=4", headers={"X-Request-Id": f"{id_}-s"})
    log = DecisionLog.of(Folder.of(tiny.storage.root))

    def written() -> list[dict[str, Any]]:
        rows = [row for hour in log.hours() for row in log.read_hour(hour).table.to_pylist()]
        return sorted((row for row in rows if row["request_id"].startswith(id_)), key=lambda row: row["request_id"])

    wait_until(lambda: len(written()) == 4, "the decisions are written")
    assert [row["request_id"] for row in written()] == [id_, f"{id_}-b.0", f"{id_}-b.1", f"{id_}-s"]
    first, of_batch, popular, similar = written()
    assert (first["kind"], first["source"], first["num_shown"]) == ("recommend", "towers", 5)
    assert first["user"] == logged_user(user_key(known_user))
    assert dict(first["context"]) == {"daypart": "evening"}
    assert first["item_ids"][:5] == [item["id"] for item in answer["items"]]
    assert first["scores"][:5] == pytest.approx([item["score"] for item in answer["items"]], rel=1e-6)
    assert len(set(first["item_ids"])) == len(first["item_ids"]) == len(first["scores"]) == 100
    assert of_batch["item_ids"][:5] == [item["id"] for item in batch.json()["responses"][0]["items"]]
    assert (popular["user"], popular["source"], popular["num_shown"]) == (None, "popular", 3)
    assert (similar["kind"], similar["num_shown"]) == ("similar", 4)


def test_the_demo_shows_what_three_events_change(client: RecommendClient, other_user: str, tiny: Config) -> None:
    shown = send_example_events(client, other_user, 5, tiny.events)
    before, after = ([item["id"] for item in shown[name]["items"]] for name in ("before", "after"))
    taken = [event["item_id"] for event in shown["events"]]
    assert (taken[0], len(set(taken)), set(taken) & set(after)) == (before[-1], 3, set())
