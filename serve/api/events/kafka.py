"""Events from Kafka: taken into the state store, and then their offsets committed, so that none is lost.

A message that was taken before its offset was committed comes again after a crash, and counts once, by its event id.
What cannot be taken goes to a topic of its own with the reason, before the offset is committed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from data.artifacts.errors import ConfigError, one_line
from data.cluster.console import ProgressReporter
from serve.api.events.dead_letters import DeadLetters
from serve.api.events.json_payloads import Unreadable
from serve.api.events.kafka_lag import lag_of
from serve.api.events.payloads import payload_reader
from serve.api.events.reading import REFUSED, read_events
from serve.api.limits import MAX_EVENTS
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig
from serve.events.protocol import Outcome, StateStore, StoreUnavailable

RETRY_S = (0.1, 5.0)
"""Seconds before a batch is tried again, doubled with each time, and at most."""

MAX_REASONS = 20
"""Most reasons that are told of one message."""


@dataclass(slots=True)
class IngestCounts:
    """Counts of messages by outcome.

    Attributes:
        accepted: events that were stored.
        duplicates: events that had been stored before.
        forgotten: events that users had caused before they were forgotten: nothing of them is kept.
        dead: messages that went to the dead-letter topic, because they or some of their events were refused.
        lag: messages that still wait in the partitions of this process, those that it holds for the store included.
    """

    accepted: int = 0
    duplicates: int = 0
    forgotten: int = 0
    dead: int = 0
    lag: int = 0


@dataclass(slots=True)
class Taken:
    """What was taken of a batch before the store did not answer: these events are neither sent nor counted again.

    Attributes:
        num: how many events.
        refused: those of them that were refused, each by its message and how it is called there, with the reason.
        withheld: the places of messages with events of users who were forgotten since, which are kept nowhere.
    """

    num: int = 0
    refused: list[tuple[tuple[int, str], str]] = field(default_factory=list)
    withheld: set[int] = field(default_factory=set)


class KafkaIngest:
    """Takes events from a topic until it is stopped.

    Args:
        config: The topic, and the brokers.
        events: What is accepted.
        store: Where events are made durable.
        progress: Where messages go.

    Raises:
        ConfigError: The brokers or the topic are missing, librdkafka refuses a property, or it is not installed.
    """

    def __init__(
        self, config: IngestConfig, events: EventsConfig, store: StateStore, progress: ProgressReporter = print
    ) -> None:
        if not config.bootstrap or not config.topic:
            raise ConfigError("ingest.bootstrap, ingest.topic: both must be given, such as ingest.bootstrap=host:9092")
        try:
            from confluent_kafka import Consumer, KafkaException, Producer
        except ImportError as e:
            raise ConfigError("serve.ingest needs confluent-kafka: pip install 'twotower-ray[kafka]'") from e
        self._config, self._events, self._store, self._progress = config, events, store, progress
        self._read = payload_reader(config)
        self.counts = IngestCounts()
        brokers = {"bootstrap.servers": config.bootstrap, **config.properties}
        taking = {"group.id": config.group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        try:
            producer, self._consumer = (
                Producer({**brokers, "enable.idempotence": True}),
                Consumer({**brokers, **taking}),
            )
        except KafkaException as e:
            raise ConfigError(f"ingest.properties: {e.args[0].str()}; give properties as librdkafka has them") from e
        self._dead = DeadLetters(producer, config.dead or f"{config.topic}.dead")
        self._consumer.subscribe([config.topic])

    def run(self, stopped: Callable[[float], bool], report: Callable[[IngestCounts], None] = lambda _: None) -> None:
        """Takes batches until stopped.

        Args:
            stopped: Waits for the given number of seconds and returns whether to stop (as `threading.Event.wait` does).
            report: Gets the counts after each batch, and at each attempt while the store does not answer.
        """
        try:
            while not stopped(0):
                messages = self._readable(self._consumer.consume(self._config.batch, self._config.wait_s))
                if messages and not self._take(messages, stopped, report):
                    return
                self.counts.lag = lag_of(self._consumer)
                report(self.counts)
        finally:
            self._consumer.close()

    def _readable(self, messages: Sequence[Any]) -> list[Any]:
        """The messages that are none of librdkafka's errors; those are reported."""
        for message in messages:
            if message.error() is not None:
                self._progress(f"ingest: {message.error()}")
        return [message for message in messages if message.error() is None]

    def _take(
        self, messages: list[Any], stopped: Callable[[float], bool], report: Callable[[IngestCounts], None]
    ) -> bool:
        """Makes a batch durable and commits it; returns False where it was stopped before that was possible.

        Raises:
            DeadLettersRefused: The topic of dead letters does not take messages; nothing is committed.
        """
        pause_s, taken = RETRY_S[0], Taken()
        while True:
            try:
                refused = self._append([message.value() or b"" for message in messages], taken, _sent_us(messages))
                break
            except StoreUnavailable as e:
                self._progress(f"ingest: {one_line(e)}; trying again in {pause_s:g} s")
                self.counts.lag = lag_of(self._consumer, len(messages))
                report(self.counts)
                if stopped(pause_s):
                    return False
                messages = messages + self._show_presence()
                pause_s = min(2 * pause_s, RETRY_S[1])
        for place, reason in refused.items():
            self._dead.send(messages[place], reason, is_withheld=place in taken.withheld)
        if refused:
            self._dead.flush()
        self.counts.dead += len(refused)
        self._commit()
        if pause_s > RETRY_S[0]:
            self._consumer.resume(self._consumer.assignment())
        return True

    def _show_presence(self) -> list[Any]:
        """Polls while the batch waits for the store: without polls, the group would take this process for dead.

        Partitions are paused, so that nothing more is read. Messages come nevertheless from partitions that the group
        assigns meanwhile; they are returned and belong to the batch, since committing it commits them too.
        """
        self._consumer.pause(self._consumer.assignment())
        message = self._consumer.poll(0)
        return [] if message is None else self._readable([message])

    def _commit(self) -> None:
        """Commits what was taken. Where that fails, the messages come again, and their events are duplicates by id."""
        from confluent_kafka import KafkaException

        try:
            errors = [at.error for at in self._consumer.commit(asynchronous=False) if at.error is not None]
        except KafkaException as e:
            errors = [e.args[0]]
        for error in errors:
            self._progress(f"ingest: offsets are not committed, so their messages may come again: {error}")

    def _append(self, values: Sequence[bytes], taken: Taken, sent_us: Sequence[int | None] = ()) -> dict[int, str]:
        """Makes events durable; returns why messages are refused, by their place in the batch.

        Of a message with several events the valid ones are taken. It is refused nevertheless, and the reason tells
        the others; sent again, those that were taken are duplicates.

        Args:
            values: the messages. Where the store did not answer they are given again, with others after them.
            taken: what was taken of them before; it goes on after that.
            sent_us: of each message, when it was sent, as for `read_events`.
        """
        refused: dict[int, list[str]] = {}
        objects: list[tuple[bytes, int | None]] = []
        owners: list[tuple[int, str]] = []
        for place, value in enumerate(values):
            try:
                found = self._read(value)
            except Unreadable as e:
                refused[place] = [str(e)]
                continue
            objects += [(each, sent_us[place] if sent_us else None) for each in found]
            owners += [(place, f"event {number}: " if len(found) > 1 else "") for number in range(len(found))]
        for start in range(taken.num, len(objects), MAX_EVENTS):
            some = objects[start : start + MAX_EVENTS]
            taken.refused += self._append_some(some, owners[start:], taken.withheld)
            taken.num = start + len(some)
        for (place, which), reason in taken.refused:
            refused.setdefault(place, []).append(which + reason)
        return {place: _together(reasons) for place, reasons in refused.items()}

    def _append_some(
        self, objects: Sequence[tuple[bytes, int | None]], owners: Sequence[tuple[int, str]], withheld: set[int]
    ) -> list[tuple[tuple[int, str], str]]:
        """Makes events durable; returns the owners of those that are refused, with the reasons.

        Args:
            objects: events as JSON, each with when its message was sent.
            withheld: gets the places of messages with events that are forgotten.
        """
        refused = []
        body = b'{"events":[' + b",".join(each for each, _ in objects) + b"]}"
        batch = read_events(body, self._events, [sent_us for _, sent_us in objects])
        if any(len(problem["loc"]) < 3 for problem in batch.problems):  # one of them spoils the whole, such as by depth
            if len(objects) == 1:
                return [(owners[0], problem["msg"]) for problem in batch.problems]
            halves = slice(0, len(objects) // 2), slice(len(objects) // 2, len(objects))
            return [found for half in halves for found in self._append_some(objects[half], owners[half], withheld)]
        for problem in batch.problems:
            name, said = ".".join(map(str, problem["loc"][3:])), problem["msg"]
            refused.append((owners[problem["loc"][2]], said if said.startswith(f"{name}: ") else f"{name}: {said}"))
        outcomes = self._store.append(batch.events) if batch.events else ()
        for place, outcome in zip(batch.places, outcomes, strict=True):
            if outcome is Outcome.forgotten:
                withheld.add(owners[place][0])
            elif outcome in REFUSED:
                refused.append((owners[place], ": ".join(REFUSED[outcome])))
        self.counts.accepted += sum(outcome is Outcome.accepted for outcome in outcomes)
        self.counts.duplicates += sum(outcome is Outcome.duplicate for outcome in outcomes)
        self.counts.forgotten += sum(outcome is Outcome.forgotten for outcome in outcomes)
        return refused


def _together(reasons: Sequence[str]) -> str:
    """All reasons of a message in one text, at most `MAX_REASONS` of them."""
    more = len(reasons) - MAX_REASONS
    return "; ".join(reasons[:MAX_REASONS]) + (f"; and {more} more" if more > 0 else "")


def _sent_us(messages: Sequence[Any]) -> list[int | None]:
    """When messages of confluent-kafka were sent, or came to a broker, in microseconds since 1970; None if unknown."""
    found = (message.timestamp() for message in messages)
    return [at_ms * 1000 if kind else None for kind, at_ms in found]  # 0 is TIMESTAMP_NOT_AVAILABLE
