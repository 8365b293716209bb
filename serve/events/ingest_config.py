"""The configuration of `serve.ingest`, which takes events from Kafka."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds


@dataclass(kw_only=True, slots=True)
class IngestConfig:
    """Where events come from, and where those go that cannot be taken. `serve.ingest` needs bootstrap and topic.

    Attributes:
        bootstrap: Brokers, as host:port, separated by commas.
        topic: The topic of the events, each message a JSON object with the fields of `POST /v1/events`.
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
    group: str = "twotower"
    dead: str | None = None
    batch: int = bounded(500, at_least=1, at_most=500)
    wait_s: float = bounded(0.2, above=0)
    properties: dict[str, str] | None = None
    metrics_port: int = bounded(0, at_least=0, at_most=65_535)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "ingest")
