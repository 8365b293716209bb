"""Events from Kafka, against the mock brokers of librdkafka: none lost, each once, the rest in a topic with reasons."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, KafkaError, Producer

from data.artifacts.errors import ConfigError
from serve.api.events.dead_letters import DeadLetters
from serve.api.events.kafka import IngestCounts, KafkaIngest
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig, PayloadFormat
from serve.events.protocol import Outcome, StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config as events_config
from tests.serve.events.written_payloads import SCHEMA, arrow, avro, event, framed

pytestmark = pytest.mark.slow

WITHIN_S = 60


IMPATIENT = {"session.timeout.ms": "6000", "max.poll.interval.ms": "6000"}
"""Properties by which a group goes on without a process that does not poll for six seconds."""


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


def first_message(config: IngestConfig, topic: str) -> Any:
    consumer = Consumer(
        {"bootstrap.servers": config.bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    (message,) = consumer.consume(1, WITHIN_S)
    consumer.close()
    return message


def test_what_can_be_taken_is_durable_and_the_rest_has_a_reason(ingest: IngestConfig, values: EventsConfig) -> None:
    store = SqliteStore(values)
    later = event(2, time=time.time() + 3600)
    deep = b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"
    send(ingest, event(1), event(1), b"{not json", b"[]", event(3, type="sneeze"), later, event(1, item_id="other"),
         deep, event(4))  # fmt: skip
    running = KafkaIngest(ingest, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.accepted == 2 and counts.dead == 6 and counts.lag == 0))
    assert running.counts == IngestCounts(accepted=2, duplicates=1, dead=6, lag=0)
    assert [e.item_id for e in store.read(["u"])[0].events] == ["i1", "i4"]
    reasons = dict(dead_letters(ingest, 6))
    assert "recursion" in reasons.pop(deep)
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


@pytest.fixture
def slow_brokers() -> Iterator[str]:
    """A mock broker that answers after 300 ms."""
    producer = Producer({"test.mock.num.brokers": "1", "test.mock.broker.rtt": 300})
    (broker,) = producer.list_topics(timeout=WITHIN_S).brokers.values()
    yield f"{broker.host}:{broker.port}"


def test_a_dead_letter_that_is_not_delivered_is_not_committed(
    ingest: IngestConfig, slow_brokers: str, values: EventsConfig
) -> None:
    config = replace(ingest, bootstrap=slow_brokers, properties=IMPATIENT)
    send(config, b"{not json")
    hasty = KafkaIngest(
        replace(config, properties=IMPATIENT | {"message.timeout.ms": "100"}), values, SqliteStore(values)
    )
    with pytest.raises(
        ConnectionError, match=rf"ingest\.dead: {config.topic}\.dead does not .*timed out.*topic exists"
    ):
        hasty.run(*until(lambda counts: counts.dead == 1))
    assert hasty.counts.dead == 0
    KafkaIngest(config, values, SqliteStore(values)).run(*until(lambda counts: counts.dead == 1))
    assert [value for value, _ in dead_letters(config, 1)] == [b"{not json"]


def test_a_large_message_is_cut_to_be_a_dead_letter(ingest: IngestConfig, values: EventsConfig) -> None:
    """What fits into its own topic does not with the reason, which may itself be long."""
    full = b"x" * 999_900
    long_name = json.dumps(event(1) | {"k" * 600_000: 1}).encode()
    send(ingest, full, long_name, event(2))
    KafkaIngest(ingest, values, SqliteStore(values)).run(*until(lambda counts: counts.accepted + counts.dead == 3))
    (cut, why), (whole, reason) = dead_letters(ingest, 2)
    assert (cut == full[:65_536], why[:13]) == (True, "it is no JSON")
    assert (whole == long_name, len(reason.encode()), reason[:3]) == (True, 2048, "kkk")


def test_a_broker_that_refuses_large_messages_gets_less_of_them(ingest: IngestConfig) -> None:
    class Strict(Producer):  # type: ignore[misc]
        """As with brokers that take smaller messages than librdkafka does."""

        def produce(self, topic: str, *, value: bytes, on_delivery: Any, **fields: Any) -> None:
            if len(value) > 1000:
                on_delivery(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
            else:
                super().produce(topic, value=value, on_delivery=on_delivery, **fields)

    send(ingest, b"x" * 2000)
    message = first_message(ingest, str(ingest.topic))
    letters = DeadLetters(Strict({"bootstrap.servers": ingest.bootstrap}), f"{ingest.topic}.dead")
    letters.send(message, "too long")
    letters.flush()
    dead = first_message(ingest, f"{ingest.topic}.dead")
    assert not dead.value()
    headers = dict(dead.headers())
    assert headers["reason"] == b"too long"
    assert b"it had 2000 bytes and a key of 1 bytes, and of each at most the first 0 are here" in headers["cut"]


def test_an_ingest_stays_in_its_group_while_the_store_is_away(ingest: IngestConfig, values: EventsConfig) -> None:
    """Its polls are at most six seconds apart, though the store is away for ten."""
    said: list[str] = []

    class Away(SqliteStore):
        """Does not answer for ten seconds after the first call."""

        until_s = 0.0

        def append(self, events: Any) -> list[Outcome]:
            self.until_s = self.until_s or time.monotonic() + 10
            if time.monotonic() < self.until_s:
                raise StoreUnavailable("away")
            return super().append(events)

    send(ingest, *(event(number) for number in range(20)))
    config = replace(ingest, properties=IMPATIENT, batch=5)
    running = KafkaIngest(config, values, Away(values), said.append)
    running.run(*until(lambda counts: counts.accepted == 20))
    assert {line.partition(";")[0] for line in said} == {"ingest: away"}
    assert running.counts == IngestCounts(accepted=20)


def test_offsets_that_cannot_be_committed_are_reported(ingest: IngestConfig, values: EventsConfig) -> None:
    """By a group that has given the partitions to others, as after a pause of this process."""
    said: list[str] = []

    class Slow(SqliteStore):
        """Takes so long for the first batch that the group goes on without this process."""

        calls = 0

        def append(self, events: Any) -> list[Outcome]:
            self.calls += 1
            if self.calls == 1:
                time.sleep(9)
            return super().append(events)

    send(ingest, *(event(number) for number in range(20)))
    running = KafkaIngest(replace(ingest, properties=IMPATIENT), values, Slow(values), said.append)
    running.run(*until(lambda counts: counts.accepted == 20 and counts.duplicates > 0))
    assert any(line.startswith("ingest: offsets are not committed, so their messages may come again") for line in said)
    assert running.counts.accepted == 20


def test_avro(ingest: IngestConfig, values: EventsConfig, tmp_path: Path) -> None:
    """Container files and framed records; a message is refused for one of its events, and the others are taken."""
    (tmp_path / "event.avsc").write_text(json.dumps(SCHEMA))
    config = replace(ingest, format=PayloadFormat.avro, schemas={17: str(tmp_path / "event.avsc")})
    store, at = SqliteStore(values), datetime.now(UTC)
    half, cut = avro(event(4), event(5, type="sneeze"), event(6)), avro(event(9))[:-20]
    other, packed, changed = framed(3, event(7)), avro(event(8), codec="deflate"), avro(event(1))
    send(config, avro(event(1, time=at, value=2.5, context={"daypart": "day"})), framed(17, event(2)), changed,
         half, other, packed, framed(17, event(3)) + b"\x00", framed(17, event(10))[:-6], cut, b"{}")  # fmt: skip
    running = KafkaIngest(config, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.dead == 8))
    assert (running.counts.accepted, running.counts.duplicates) == (4, 0)
    (state,) = store.read(["u"])
    assert {e.item_id for e in state.events} == {"i1", "i2", "i4", "i6"}
    (first,) = (e for e in state.events if e.item_id == "i1")
    assert (first.value, first.context) == (2.5, {"daypart": "day"})
    assert first.time_us == int(at.timestamp()) * 1_000_000 + at.microsecond
    reasons = dict(dead_letters(config, 8))
    assert reasons[half].startswith("event 1: type: 'sneeze' is unknown")
    assert reasons[other] == "its schema has the id 3, and ingest.schemas knows 17"
    assert reasons[packed].startswith("its codec is deflate")
    assert reasons[framed(17, event(3)) + b"\x00"] == "it goes on after its record: it was not written by schema 17"
    assert reasons[framed(17, event(10))[:-6]].startswith("it is no Avro")
    assert reasons[cut].startswith("it is no Avro")
    assert reasons[b"{}"].startswith("it is neither an Avro container file nor")
    assert reasons[changed].startswith("event_id: an event of this id with other content")


def test_arrow(ingest: IngestConfig, values: EventsConfig) -> None:
    config, store, at = replace(ingest, format=PayloadFormat.arrow), SqliteStore(values), datetime.now(UTC)
    texts = [(name, pa.string()) for name in ("event_id", "user_id", "item_id", "type")]
    rich = pa.schema([*texts, ("time", pa.timestamp("ns", "UTC")), ("context", pa.map_(pa.string(), pa.string()))])
    without_zone = pa.schema([*texts, ("time", pa.timestamp("us"))])
    listed = arrow({**event(9), "context": [None] * 3})
    several = arrow(event(1, time=at, context={"daypart": "day"}), event(2), schema=rich)
    half = arrow(event(3), event(4, type="sneeze"), event(5))
    many, packed = arrow(*(event(100 + n) for n in range(501))), arrow(event(6), compression="zstd")
    naive, infinite = arrow(event(7, time=at), schema=without_zone), arrow(event(8, value=float("nan")))
    send(config, several, half, many, packed, naive, infinite, several[:-100], b"{}", listed, arrow(schema=rich))
    running = KafkaIngest(config, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.dead == 9))
    (state,) = store.read(["u"])
    assert {e.item_id for e in state.events} == {"i1", "i2", "i3", "i5"}
    (first,) = (e for e in state.events if e.item_id == "i1")
    assert (first.context, first.time_us) == ({"daypart": "day"}, int(at.timestamp()) * 1_000_000 + at.microsecond)
    reasons = dict(dead_letters(config, 9))
    assert reasons[half].startswith("event 1: type: 'sneeze' is unknown")
    assert reasons[many] == "it holds 501 events, and a message may hold 500"
    assert reasons[packed].startswith("its buffers are compressed")
    assert "zone" in reasons[naive]
    assert reasons[listed] == "context: list<item: null> is no type of a field of events"
    assert reasons[infinite] == "value: nan is no finite number"
    assert reasons[b"{}"].startswith("it is no Arrow IPC stream")
    assert reasons[several[:-100]].startswith("it is no Arrow IPC stream")
    assert reasons[arrow(schema=rich)] == "it holds no event"


def test_a_topic_must_be_named(values: EventsConfig) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.bootstrap, ingest\.topic: both must be given"):
        KafkaIngest(IngestConfig(), values, SqliteStore(values))
