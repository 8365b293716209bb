"""Takes events from Kafka until Ctrl-C: `python -m serve.ingest ingest.bootstrap=host:9092 ingest.topic=events`.

Each message is one event as JSON, with the fields of `POST /v1/events`, or some as Avro or Arrow. Offsets are committed
when events are durable, so none is lost, and one that comes again counts once. What cannot be taken goes to
`<topic>.dead` with the reason.

Examples:
    python -m serve.ingest ingest.bootstrap=127.0.0.1:9092 ingest.topic=events
    python -m serve.ingest ingest.bootstrap=127.0.0.1:9092 ingest.topic=events ingest.format=arrow
    python -m serve.ingest ingest.bootstrap=kafka:9092 ingest.topic=events events=redis events.uri=redis://redis:6379/0
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.cluster.console import stop_asked

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Takes events until Ctrl-C or SIGTERM; returns what came of them."""
    from serve.api.events.kafka import IngestCounts, KafkaIngest
    from serve.api.events.kafka_metrics import reporter
    from serve.events.notes.values import EndpointValues
    from serve.events.stores import STATE_STORES

    if not config.events.is_on:
        raise ConfigError(f"events.store: {config.events.store} takes no events; events=sqlite or events=redis")
    report = reporter(config.ingest.metrics_port)
    store = STATE_STORES[config.events.store](config.events)
    ingest, endpoint = KafkaIngest(config.ingest, config.events, store), EndpointValues(config.events, store)
    endpoint.require()
    print(f"ingest: taking {config.ingest.topic} of {config.ingest.bootstrap}; stop with Ctrl-C", flush=True)

    def told(counts: IngestCounts) -> None:
        report(counts)
        endpoint.look()

    ingest.run(stop_asked().wait, told)
    counts = ingest.counts
    dropped = f", {counts.forgotten} of users who were forgotten since" if counts.forgotten else ""
    print(f"ingest: {counts.accepted} accepted, {counts.duplicates} duplicates, {counts.dead} dead letters{dropped}")
    names = ("accepted", "duplicates", "forgotten", "dead")
    return {name: getattr(counts, name) for name in names}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.ingest")
