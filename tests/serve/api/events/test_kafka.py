"""Events from Kafka, against the mock brokers of librdkafka: each is taken once, the rest in a topic with reasons."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts.errors import ConfigError
from serve.api.events.kafka import IngestCounts, KafkaIngest
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig, PayloadFormat
from serve.events.sqlite_store import SqliteStore
from tests.serve.api.events.topics import dead_letters, send, until
from tests.serve.events.written_payloads import SCHEMA, arrow, avro, event, framed

pytestmark = pytest.mark.slow


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
