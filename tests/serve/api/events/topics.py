"""Topics of Kafka for the tests: messages are sent to them, taken from them, and found among dead letters."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, Producer

from serve.api.events.kafka import IngestCounts
from serve.events.ingest_config import IngestConfig

WITHIN_S = 60
"""Seconds after which a test that waits has failed."""


def send(config: IngestConfig, *messages: Any, sent_ms: int = 0) -> None:
    """Sends messages, now or as if at another time, in milliseconds since 1970."""
    producer = Producer({"bootstrap.servers": config.bootstrap})
    for message in messages:
        value = message if isinstance(message, bytes) else json.dumps(message).encode()
        producer.produce(str(config.topic), value=value, key=b"u", timestamp=sent_ms)
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
