"""What an operator types wrong for `serve.ingest` is told in a line that names it, and no event is taken."""

import socket

import pytest

from data.artifacts.errors import ConfigError, UserError
from serve.api.events.kafka import KafkaIngest
from serve.api.events.kafka_metrics import reporter
from serve.events.config import EventsConfig
from serve.events.ingest_config import IngestConfig
from serve.events.sqlite_store import SqliteStore


@pytest.mark.parametrize(
    ("name", "value"), [("secutiry.protocol", "SSL"), ("security.protocol", "SLS"), ("fetch.min.bytes", "many")]
)
def test_a_property_that_librdkafka_does_not_take(values: EventsConfig, name: str, value: str) -> None:
    config = IngestConfig(bootstrap="127.0.0.1:1", topic="events", properties={name: value})
    with pytest.raises(ConfigError, match=rf"^ingest\.properties: .*{name}"):
        KafkaIngest(config, values, SqliteStore(values), lambda _: None)


def test_the_port_of_another_process_that_takes_events() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"^ingest\.metrics_port: 127\.0\.0\.1:{port} is in use"):
            reporter(port)
