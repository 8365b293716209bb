"""The configuration of `serve.ingest`, which takes events from Kafka."""

from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError


class PayloadFormat(Enum):
    """What messages hold. Every field is that of `POST /v1/events`."""

    json = "json"  # one event as an object
    avro = "avro"  # a container file of some events, or one record after the id of its schema, as Confluent frames it
    arrow = "arrow"  # an IPC stream whose rows are some events


@dataclass(kw_only=True, slots=True)
class IngestConfig:
    """Where events come from, and where those go that cannot be taken. `serve.ingest` needs bootstrap and topic.

    Attributes:
        bootstrap: Brokers, as host:port, separated by commas.
        topic: The topic of the events.
        format: What its messages hold, see PayloadFormat.
        schemas: With avro: by id in the schema registry, the file (.avsc) of each schema by which framed records are
            written, such as {17: event.avsc}. Container files need none.
        group: The consumer group: several processes of a group share the partitions.
        dead: The topic of messages that cannot be taken, each with the reason in its headers; null means the name of
            the topic with `.dead` at its end.
        batch: Most events that are made durable in one step.
        wait_s: Seconds for which a batch may wait for more messages.
        properties: Further properties of librdkafka, such as {security.protocol: SASL_SSL}.
        metrics_port: The port of Prometheus metrics on loopback; 0 means none.
    """

    bootstrap: str | None = None
    topic: str | None = None
    format: PayloadFormat = PayloadFormat.json
    schemas: dict[int, str] = field(default_factory=dict)
    group: str = "twotower"
    dead: str | None = None
    batch: int = bounded(500, at_least=1, at_most=500)
    wait_s: float = bounded(0.2, above=0)
    properties: dict[str, str] = field(default_factory=dict)
    metrics_port: int = bounded(0, at_least=0, at_most=65_535)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "ingest")
        if self.schemas and self.format is not PayloadFormat.avro:
            raise ConfigError(f"ingest.schemas: {self.schemas} are for ingest.format=avro alone")
