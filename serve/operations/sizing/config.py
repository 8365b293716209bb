"""The configuration of `serve.capacity`: what is asked for, and what was measured."""

from dataclasses import dataclass, field

from data.artifacts.bounds import bounded, check_bounds


@dataclass(kw_only=True, slots=True)
class Measured:
    """What one replica takes, as `make bench-capacity` measures it.

    Attributes:
        request_cpu_ms: CPU milliseconds of a request, of its replica and of HAProxy together, whatever the catalogue.
        item_cpu_ns: further CPU nanoseconds for each item that is compared with the user's vector.
        unloaded_p99_ms: the 99th percentile of a request's time where a single client asks, without the comparison.
        compared_share: the share of the catalogue that an inverted file compares, above `index.exact_up_to` items.
        replica_mib: memory of a replica without a release.
        item_bytes, user_bytes: memory of a replica for each item and user of a release, at 64 dimensions.
        node_item_bytes: memory of a node for each item of a release, in files that its replicas share.
        examples_per_s: positives that one GPU trains on in a second.
    """

    request_cpu_ms: float = bounded(5.0, above=0)
    item_cpu_ns: float = bounded(15.0, at_least=0)
    unloaded_p99_ms: float = bounded(8.0, above=0)
    compared_share: float = bounded(0.03, above=0, at_most=1)
    replica_mib: float = bounded(500.0, above=0)
    item_bytes: float = bounded(2000.0, at_least=0)
    user_bytes: float = bounded(1500.0, at_least=0)
    node_item_bytes: float = bounded(370.0, at_least=0)
    examples_per_s: float = bounded(500_000.0, above=0)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "capacity.measured")


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
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "capacity")
