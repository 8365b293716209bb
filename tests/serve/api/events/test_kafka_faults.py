"""Kafka, the store or the ingest fail: nothing is lost and nothing is committed too early. Against mock brokers."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from data.artifacts.errors import UserError
from serve.api.events.dead_letters import DeadLetters
from serve.api.events.kafka import IngestCounts, KafkaIngest, Taken
from serve.api.limits import MAX_EVENTS
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig
from serve.events.protocol import Outcome, StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from tests.serve.api.events.topics import WITHIN_S, dead_letters, first_message, send, until
from tests.serve.events.written_payloads import event

pytestmark = pytest.mark.slow

IMPATIENT = {"session.timeout.ms": "6000", "max.poll.interval.ms": "6000"}
"""Properties by which a group goes on without a process that does not poll for six seconds."""


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


def test_a_batch_of_which_a_part_was_taken_is_not_counted_twice(ingest: IngestConfig, values: EventsConfig) -> None:
    """The events before the failure were counted once more at each attempt, as duplicates that nobody had sent."""

    class AwayForAMoment(SqliteStore):
        """Does not answer at the second call."""

        calls = 0

        def append(self, events: Any) -> list[Outcome]:
            self.calls += 1
            if self.calls == 2:
                raise StoreUnavailable("away")
            return super().append(events)

    taking = KafkaIngest(ingest, values, AwayForAMoment(values), lambda _: None)
    taken, wrong = Taken(), b'{"no": "event"}'
    messages = [json.dumps(event(number)).encode() for number in range(MAX_EVENTS)]
    messages[3:3] = [wrong]
    with pytest.raises(StoreUnavailable):
        taking._append([*messages, *messages[:1]], taken)
    refused = taking._append([*messages, *messages[:1], wrong], taken)
    assert list(refused) == [3, MAX_EVENTS + 2], "what was refused at the first attempt is refused in the end"
    assert (taking.counts.accepted, taking.counts.duplicates) == (MAX_EVENTS, 1)


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
    with pytest.raises(UserError, match=rf"ingest\.dead: {config.topic}\.dead does not .*timed out.*topic exists"):
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


def test_the_lag_is_told_while_the_store_is_away(ingest: IngestConfig, values: EventsConfig) -> None:
    """It stood still until the store answered: whoever watched it saw that nothing waits."""
    lags: list[int] = []

    class Away(SqliteStore):
        """Does not answer."""

        def append(self, events: Any) -> list[Outcome]:
            raise StoreUnavailable("away")

    def report(counts: IngestCounts) -> None:
        lags.append(counts.lag)
        if counts.lag == 1 and lags.count(1) == 1:
            send(ingest, event(2), event(3))

    def stopped(seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return 3 in lags or time.monotonic() > ends

    send(ingest, event(1))
    ends = time.monotonic() + WITHIN_S / 2
    KafkaIngest(ingest, values, Away(values), lambda _: None).run(stopped, report)
    assert 3 in lags, "the event that it holds, and two that it has not read"
