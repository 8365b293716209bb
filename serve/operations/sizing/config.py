"""The configuration of `serve.capacity`: what is asked for, and what was measured."""

from dataclasses import dataclass, field

from data.artifacts.bounds import bounded, check_bounds


@dataclass(kw_only=True, slots=True)
class Measured:
    """What one replica takes, as `make bench-capacity` has measured it on 2 cores (docs/measurements.md).

    To be measured on nodes of one's own.

    Attributes:
        request_cpu_ms: CPU milliseconds of the replica for a request, without the comparison of vectors.
        proxy_cpu_ms: CPU milliseconds of HAProxy for a request.
        item_cpu_ns: CPU nanoseconds for each item that an exact search compares with the user's vector.
        inverted_cpu_ms, inverted_root_us: CPU milliseconds of a search of an inverted file, and further microseconds
            times the square root of the number of items: there are that many lists, and lists that long.
        unloaded_p99_ms: the 99th percentile of a request's time where hardly anybody asks, without the comparison.
        waiting: how much longer requests wait in a busy replica than in the M/M/1 queue.
        replica_mib: memory of a replica without a release.
        item_bytes, user_bytes: memory of a replica for each item, without its vector, and for each user of a release.
        vector_bytes: a vector of 64 dimensions: in each replica, or above `index.exact_up_to` once a node.
        inverted_bytes: what the inverted file adds to it.
        examples_per_s: positives on which one GPU trains in a second: on an H100 (docs/measurements.md).
    """

    request_cpu_ms: float = bounded(2.4, above=0)
    proxy_cpu_ms: float = bounded(0.08, at_least=0)
    item_cpu_ns: float = bounded(7.5, at_least=0)
    inverted_cpu_ms: float = bounded(0.0, at_least=0)
    inverted_root_us: float = bounded(0.68, at_least=0)
    unloaded_p99_ms: float = bounded(20.0, above=0)
    waiting: float = bounded(1.0, above=0)
    replica_mib: float = bounded(360.0, above=0)
    item_bytes: float = bounded(1340.0, at_least=0)
    user_bytes: float = bounded(630.0, at_least=0)
    vector_bytes: float = bounded(256.0, at_least=0)
    inverted_bytes: float = bounded(72.0, at_least=0)
    examples_per_s: float = bounded(770_000.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "capacity.measured")


@dataclass(kw_only=True, slots=True)
class Machine:
    """A machine that the serving nodes may be, beside those of `nodes.types`.

    Attributes:
        instance: the cloud's name of it.
        cpus, memory_gib: what it has.
        cost_per_month: its price, in the currency of `nodes`.
    """

    instance: str = "c7i.2xlarge"
    cpus: int = bounded(8, at_least=1)
    memory_gib: float = bounded(16.0, above=0)
    cost_per_month: float = bounded(280.0, at_least=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "capacity.machines")


@dataclass(kw_only=True, slots=True)
class CapacityConfig:
    """What an endpoint is to carry.

    Attributes:
        items, users: of the catalogue and of the release.
        rps: requests per second at the busiest time.
        p99_ms: the 99th percentile that a request's time must keep.
        releases: releases in memory at a time: one that answers, and one that is made ready or gone back to.
        spare_nodes: nodes that may be lost at the busiest time.
        examples: positives of a training, over all its epochs.
        trainings_per_month: how often it is trained.
        machines: further machines from which the cheapest is chosen, by any name.
        measured: what one replica takes.
    """

    items: float = bounded(1e6, at_least=1)
    users: float = bounded(1e6, at_least=1)
    rps: float = bounded(500.0, above=0)
    p99_ms: float = bounded(100.0, above=0)
    releases: int = bounded(2, at_least=1)
    spare_nodes: int = bounded(1, at_least=0)
    examples: float = bounded(1e9, at_least=0)
    trainings_per_month: int = bounded(30, at_least=0)
    machines: dict[str, Machine] = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "capacity")
