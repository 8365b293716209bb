"""Redis behind a line that breaks: every recommendation is answered all the same, and no event is lost in silence."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from conf.schema import Config
from serve.client import EndpointError, EventSender, RecommendClient
from serve.deployment.endpoint import running_endpoint
from serve.deployment.settings import ScaleConfig
from serve.releases.release import Release
from tests.conformance.redis_server import serving_redis
from tests.serve.line import Line, State
from tests.serve.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with serving_redis(tmp_path_factory.mktemp("redis")) as uri:
        line = Line("127.0.0.1", int(uri.rpartition(":")[2]))
        yield line
        line.end()


@pytest.fixture(scope="module")
def client(tiny: Config, release: Release, line: Line, free_port: int) -> Iterator[RecommendClient]:
    served = replace(
        tiny.serve, port=free_port, timeout_ms=1000, breaker_failures=2, breaker_pause_s=0.3,
        ingress=ScaleConfig(num_cpus=0.1),
    )  # fmt: skip
    events = replace(tiny.events, store="redis", uri=f"redis://127.0.0.1:{line.port}", state_ms=200, accept_ms=300)
    with (
        running_endpoint(replace(tiny, serve=served, events=events)) as address,
        RecommendClient(address, timeout_s=30) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def whole(line: Line, client: RecommendClient, known_user: str) -> Iterator[None]:
    """Every test begins with a line that carries, and an endpoint that has noticed."""
    line.become(State.passing)
    until(client, known_user, lambda answer: not answer.degraded)
    yield
    line.become(State.passing)


def event(user_id: str, item_id: str) -> dict[str, Any]:
    return {"event_id": uuid.uuid4().hex, "user_id": user_id, "item_id": item_id, "type": "click"}


def sent(client: RecommendClient, events: list[dict[str, Any]]) -> int:
    """Sends until the endpoint takes the events; returns how many counted as new at last."""
    ends = time.monotonic() + 30
    while True:
        try:
            return client.send_events(events).accepted
        except EndpointError as e:
            assert (e.status, e.retry_after_s) == (503, 1.0)
            assert time.monotonic() < ends
            time.sleep(0.1)


def test_an_event_changes_the_next_answer(client: RecommendClient, known_user: str) -> None:
    first = client.recommend(user_id=known_user, k=5).items[0].id
    assert sent(client, [event(known_user, first)]) == 1
    assert first not in [item.id for item in client.recommend(user_id=known_user, k=5).items]


@pytest.mark.parametrize("state", [State.silent, State.slow, State.stopped], ids=lambda state: state.value)
def test_recommendations_go_on_without_the_state_and_events_are_refused(
    state: State, line: Line, client: RecommendClient, known_user: str
) -> None:
    line.become(state)
    answer = until(client, known_user, lambda answer: answer.degraded)
    assert (answer.source, len(answer.items)) == ("towers", 5), "by the history of the release"
    assert set(answer.reasons) <= {"state_late", "state_failed"}
    skipped = until(client, known_user, lambda answer: "state_skipped" in answer.reasons)
    assert (skipped.source, len(skipped.items)) == ("towers", 5)
    late = event(known_user, "i00001")
    with pytest.raises(EndpointError, match="events are not accepted now, send them again") as caught:
        client.send_events([late])
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1.0)
    with pytest.raises(EndpointError, match="503"):
        client.user(known_user)
    line.become(State.passing)
    sent(client, [late])
    assert not until(client, known_user, lambda answer: not answer.degraded).reasons
    assert late["item_id"] in [known.item_id for known in client.user(known_user).events]


def test_a_sender_loses_nothing_while_redis_is_away(line: Line, client: RecommendClient) -> None:
    user = uuid.uuid4().hex
    with EventSender(client, batch=10, every_s=0.05) as sender:
        for number in range(100):
            sender.add(user_id=user, item_id=f"i{number}", type="click")
            if number == 30:
                line.become(State.stopped)
        time.sleep(0.5)
        line.become(State.passing)
    assert client.user(user).counts["click"].total == 100
