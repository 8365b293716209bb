"""Prometheus metrics of `serve.ingest`, which runs outside of Ray."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, start_http_server

from serve.api.events.kafka import IngestCounts


def reporter(port: int) -> Callable[[IngestCounts], None]:
    """Returns a function that exports counts at a port of loopback; with 0 it does nothing."""
    if not port:
        return lambda _: None
    taken = Counter("twotower_ingest_events", "Events from Kafka, and dead letters.", ["outcome"])
    lag = Gauge("twotower_ingest_lag", "Messages that wait in the partitions of this process.")
    start_http_server(port, addr="127.0.0.1")
    before = {"accepted": 0, "duplicates": 0, "dead": 0}

    def report(counts: IngestCounts) -> None:
        for name, was in before.items():
            taken.labels(name).inc(getattr(counts, name) - was)
            before[name] = getattr(counts, name)
        lag.set(counts.lag)

    return report
