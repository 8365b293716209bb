"""Mock brokers of librdkafka, and what takes events from them."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig
from tests.conformance.events import config as events_config
from tests.serve.api.events.topics import WITHIN_S


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
