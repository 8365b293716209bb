"""Prometheus metrics of `serve.ingest`, which runs outside of Ray."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, start_http_server

from data.artifacts.errors import UserError
from data.cluster.machine import bind_error
from serve.api.events.kafka import IngestCounts


class MetricsPortTaken(UserError, OSError):
    """Another process listens on the port of the metrics."""


def reporter(port: int) -> Callable[[IngestCounts], None]:
    """Returns a function that exports counts at a port of loopback; with 0 it does nothing.

    Raises:
        MetricsPortTaken: Another process, such as a second one that takes events, listens on the port.
    """
    if not port:
        return lambda _: None
    if (error := bind_error("127.0.0.1", port)) is not None:
        raise MetricsPortTaken(
            f"ingest.metrics_port: 127.0.0.1:{port} is in use ({error.strerror}); each process on a machine needs one"
            " of its own"
        )
    taken = Counter("twotower_ingest_events", "Events from Kafka, and dead letters.", ["outcome"])
    lag = Gauge("twotower_ingest_lag", "Messages that wait in the partitions of this process.")
    start_http_server(port, addr="127.0.0.1")
    before = {"accepted": 0, "duplicates": 0, "forgotten": 0, "dead": 0}

    def report(counts: IngestCounts) -> None:
        for name, was in before.items():
            taken.labels(name).inc(getattr(counts, name) - was)
            before[name] = getattr(counts, name)
        lag.set(counts.lag)

    return report
