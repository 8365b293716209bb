"""What a user did before being forgotten is in no topic of dead letters, whatever else its message holds."""

import time
from dataclasses import replace

import pytest

from serve.api.events.dead_letters import WITHHELD
from serve.api.events.kafka import KafkaIngest
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig, PayloadFormat
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import now_us
from tests.serve.api.events.topics import dead_letters, first_message, send, until
from tests.serve.events.written_payloads import arrow, event

pytestmark = pytest.mark.slow


def test_an_event_of_before_is_dropped_and_counted(ingest: IngestConfig, values: EventsConfig) -> None:
    store, before = SqliteStore(values), time.time() - 60
    store.forget("gone", now_us())
    send(ingest, event(1, user_id="gone", time=before), event(2), b"{not json")
    running = KafkaIngest(ingest, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.accepted == 1 and counts.dead >= 1))
    assert (running.counts.forgotten, running.counts.dead) == (1, 1)
    assert [value for value, _ in dead_letters(ingest, 1)] == [b"{not json"]


def test_a_message_that_is_refused_for_another_event_is_told_without_its_content(
    ingest: IngestConfig, values: EventsConfig
) -> None:
    config, store = replace(ingest, format=PayloadFormat.arrow), SqliteStore(values)
    store.forget("gone", now_us())
    send(config, arrow(event(1, user_id="gone", time=time.time() - 60), event(2, type="sneeze", time=time.time())))
    running = KafkaIngest(config, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.dead == 1))
    letter = first_message(config, f"{config.topic}.dead")
    headers = dict(letter.headers())
    assert not letter.value() and letter.key() is None
    assert headers["reason"].startswith(b"event 1: type: 'sneeze' is unknown")
    assert (headers["cut"].decode(), headers["offset"]) == (WITHHELD, b"0")


def test_an_event_that_names_no_time_happened_when_its_message_was_sent(
    ingest: IngestConfig, values: EventsConfig
) -> None:
    """From a topic that lags, or is read anew, it came as one of now: who had been forgotten was back, and counted."""
    store, sent_ms = SqliteStore(values), now_us() // 1000 - 60_000
    store.forget("gone", now_us())
    send(ingest, event(1, user_id="gone"), event(2), sent_ms=sent_ms)
    send(ingest, event(3), sent_ms=sent_ms - 8 * 86_400_000)
    running = KafkaIngest(ingest, values, store, lambda _: None)
    running.run(*until(lambda counts: counts.accepted == 1 and counts.dead == 1))
    assert running.counts.forgotten == 1
    gone, other = store.read(["gone", "u"])
    assert (len(gone.events), [e.time_us for e in other.events]) == (0, [sent_ms * 1000])
    ((_, reason),) = dead_letters(ingest, 1)
    assert reason.startswith("time: that of the message, since the event names none, lies more than 7 days in the past")
