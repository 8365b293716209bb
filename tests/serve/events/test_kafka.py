"""Events from Kafka, against the mock brokers of librdkafka: none lost, each once, the rest in a topic with reasons."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from data.artifacts.errors import ConfigError
from serve.api.events.kafka import IngestCounts, KafkaIngest
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig
from serve.events.protocol import Outcome, StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config as events_config

pytestmark = pytest.mark.slow

WITHIN_S = 60


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """Two mock brokers, which live as long as the producer does that has started them."""
    producer = Producer({"test.mock.num.brokers": "2"})
    found = producer.list_topics(timeout=WITHIN_S).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return events_config(path=str(tmp_path / "state.sqlite"))


@pytest.fixture
def ingest(brokers: str) -> IngestConfig:
    return IngestConfig(bootstrap=brokers, topic=f"events-{uuid.uuid4().hex[:8]}", group=uuid.uuid4().hex)


def event(number: int, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "user_id": "u", "item_id": f"i{number}", "type": "click"} | fields


def send(config: IngestConfig, *messages: Any) -> None:
    producer = Producer({"bootstrap.servers": config.bootstrap})
    for message in messages:
        value = message if isinstance(message, bytes) else json.dumps(message).encode()
        producer.produce(str(config.topic), value=value, key=b"u")
    assert producer.flush(WITHIN_S) == 0


def until(holds: Callable[[IngestCounts], bool]) -> tuple[Callable[[float], bool], Callable[[IngestCounts], None]]:
    """What stops an ingest when its counts are as wanted, and what tells it of them."""
    ends, state = time.monotonic() + WITHIN_S, {"done": False}

    def report(counts: IngestCounts) -> None:
        state["done"] = holds(counts)
        assert time.monotonic() < ends, counts

    def stopped(seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return state["done"]

    return stopped, report


def dead_letters(config: IngestConfig, number: int) -> list[tuple[bytes, str]]:
    consumer = Consumer(
        {"bootstrap.servers": config.bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([f"{config.topic}.dead"])
    found: list[tuple[bytes, str]] = []
    ends = time.monotonic() + WITHIN_S
    while len(found) < number and time.monotonic() < ends:
        messages = [message for message in consumer.consume(number, 0.5) if message.error() is None]
        found += [(message.value(), dict(message.headers())["reason"].decode()) for message in messages]
    consumer.close()
    return sorted(found)


def test_what_can_be_taken_is_durable_and_the_rest_has_a_reason(ingest: IngestConfig, values: EventsConfig) -> None:
    store = SqliteStore(values)
    later = event(2, time=time.time() + 3600)
    send(ingest, event(1), event(1), b"{not json", b"[]", event(3, type="sneeze"), later, event(1, item_id="other"),
         event(4))  # fmt: skip
    running = KafkaIngest(ingest, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.accepted == 2 and counts.dead == 5 and counts.lag == 0))
    assert running.counts == IngestCounts(accepted=2, duplicates=1, dead=5, lag=0)
    assert [e.item_id for e in store.read(["u"])[0].events] == ["i1", "i4"]
    reasons = dict(dead_letters(ingest, 5))
    assert reasons.pop(b"{not json").startswith("it is no JSON")
    assert reasons.pop(b"[]") == "it is JSON, but no object"
    said = {json.loads(value)["event_id"]: reason for value, reason in reasons.items()}
    assert said["e3"].startswith("type: 'sneeze' is unknown")
    assert said["e2"].startswith("time: lies more than")
    assert said["e1"].startswith("event_id: an event of this id with other content was accepted before")


def test_what_was_not_committed_comes_again_and_counts_once(ingest: IngestConfig, values: EventsConfig) -> None:
    store = SqliteStore(values)
    send(ingest, *(event(number) for number in range(30)))

    class Dies(SqliteStore):
        """Writes, and then its process dies."""

        def append(self, events: Any) -> list[Outcome]:
            super().append(events)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        KafkaIngest(ingest, values, Dies(values), lambda _: None).run(*until(lambda _: False))
    again = KafkaIngest(ingest, values, store, lambda _: None)
    again.run(*until(lambda counts: counts.accepted + counts.duplicates == 30))
    assert again.counts.duplicates > 0
    assert store.read(["u"])[0].counts["click"].total == 30


def test_a_store_that_does_not_answer_is_waited_for(ingest: IngestConfig, values: EventsConfig) -> None:
    said: list[str] = []

    class Away(SqliteStore):
        """Does not answer at first."""

        calls = 0

        def append(self, events: Any) -> list[Outcome]:
            self.calls += 1
            if self.calls < 3:
                raise StoreUnavailable("away")
            return super().append(events)

    send(ingest, event(1))
    KafkaIngest(ingest, values, Away(values), said.append).run(*until(lambda counts: counts.accepted == 1))
    assert said == ["ingest: away; trying again in 0.1 s", "ingest: away; trying again in 0.2 s"]


def test_a_topic_must_be_named(values: EventsConfig) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.bootstrap, ingest\.topic: both must be given"):
        KafkaIngest(IngestConfig(), values, SqliteStore(values))
