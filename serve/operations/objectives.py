"""The service level objectives by which alerts are raised, as in conf/manifests/default.yaml under `objectives`."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper bounds of the buckets of the latency histogram (serve/observability/request_times.py)."""


@dataclass(kw_only=True, slots=True)
class Objectives:
    """What the endpoint promises.

    Attributes:
        availability: the share of requests that are answered without a 5xx.
        latency_ms: the time, from arrival to last byte, that counts as fast; a bucket of the histogram.
        fast: the share of requests that are fast.
        degraded: the share of answers that may be degraded.
        recall: the recall that an approximate index keeps.
        disk_free: the share of a node's disk that stays free.
        compacted_s: seconds since the last compaction of a log after which something is wrong; several times
            `events.compact_s`.
    """

    availability: float = bounded(0.999, above=0, below=1)
    latency_ms: int = bounded(100, at_least=1)
    fast: float = bounded(0.99, above=0, below=1)
    degraded: float = bounded(0.01, above=0, below=1)
    recall: float = bounded(0.95, above=0, below=1)
    disk_free: float = bounded(0.1, above=0, below=1)
    compacted_s: float = bounded(3600.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "manifests.objectives")
        if self.latency_ms not in LATENCY_BUCKETS_MS:
            raise ConfigError(
                f"manifests.objectives.latency_ms: {self.latency_ms} is no bucket of the histogram; choose one of"
                f" {', '.join(map(str, LATENCY_BUCKETS_MS))}"
            )
