"""The configuration of the endpoint: topology, limits and scale, as in conf/serve/fused.yaml and staged.yaml."""

from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from serve.api.limits import MAX_K

RETRY_AFTER_S = 1.0
"""What the Retry-After header of a 503 answer asks clients to wait, in seconds."""

METRICS_INTERVAL_S = 1.0
"""Seconds between two reports of a replica's load; with Ray Serve's 10, autoscaling learns of a burst when it is over.
Ray 2.60 calls this value deprecated, but does not read the environment variables yet that are to replace it.
"""


class Topology(Enum):
    """Where the stages run."""

    fused = "fused"  # all stages run in each replica of the ingress; a stage is a function call
    staged = "staged"  # each stage is a deployment of its own, with its own scale and placement


class StalePointer(Enum):
    """What a replica does while its last reading of the live pointer is older than the lease, as on hanging storage."""

    answer = "answer"  # by what it last read, and the answer says `stale`
    refuse = "refuse"  # with 503: no answer by a release, or with an item, that was withdrawn meanwhile


@dataclass(kw_only=True, slots=True)
class ScaleConfig:
    """The replicas and the queue of one deployment.

    A deployment of a stage receives calls that carry up to 32 requests each (see serve/pipeline/remote_batcher.py), and
    counts calls where this says requests.

    Attributes:
        min_replicas, max_replicas: Bounds of autoscaling; equal values fix the number of replicas.
        target_ongoing_requests: Requests in progress per replica, averaged over look_back_s, that autoscaling aims at.
        look_back_s: Seconds of that average, more than METRICS_INTERVAL_S.
        upscale_delay_s: Seconds for which more replicas must have been needed before they are started.
        downscale_delay_s: Seconds for which fewer replicas must have sufficed before some are stopped.
        max_ongoing_requests: Most requests in progress per replica; further ones wait.
        max_queued_requests: Most requests that wait per replica; further ones get 503 with Retry-After.
        max_surge_percent: An update with other code starts new replicas before old ones end, up to this share of them
            beyond their number; 0 ends old ones first, which with one replica is an outage.
        rolling_update_percentage: The share of the replicas that are replaced at a time, at least one.
        num_cpus, num_gpus: Resources reserved per replica.
        labels: Labels of the nodes on which replicas may run, such as {role: server} of cluster.yaml.
    """

    min_replicas: int = bounded(1, at_least=1)
    max_replicas: int = bounded(1, at_least=1)
    target_ongoing_requests: float = bounded(8, above=0)
    look_back_s: float = bounded(12.0, above=METRICS_INTERVAL_S)
    upscale_delay_s: float = bounded(2.0, at_least=0)
    downscale_delay_s: float = bounded(120.0, at_least=0)
    max_ongoing_requests: int = bounded(32, at_least=1)
    max_queued_requests: int = bounded(32, at_least=0)
    max_surge_percent: int = bounded(100, at_least=0, at_most=100)
    rolling_update_percentage: float = bounded(0.5, above=0, at_most=1)
    num_cpus: float = bounded(0.5, at_least=0)
    num_gpus: float = bounded(0.0, at_least=0)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        """Most requests that one replica has at a time, waiting ones included."""
        return self.max_ongoing_requests + self.max_queued_requests

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "serve")

    def check(self, key: str) -> None:
        """Raises ConfigError for values that do not go together.

        Args:
            key: the config key of this scale, for messages.
        """
        if self.min_replicas > self.max_replicas:
            raise ConfigError(
                f"{key}.min_replicas: {self.min_replicas} must be at most {key}.max_replicas ({self.max_replicas})"
            )
        if self.target_ongoing_requests > self.max_ongoing_requests:
            raise ConfigError(
                f"{key}.target_ongoing_requests: {self.target_ongoing_requests} must be at most"
                f" {key}.max_ongoing_requests ({self.max_ongoing_requests}), otherwise nothing ever scales"
            )


@dataclass(kw_only=True, slots=True)
class ServeConfig:
    """The endpoint.

    Attributes:
        topology: Whether the stages run inside the ingress or as deployments of their own.
        host, port: The address on which HTTP is served.
        grpc_port: The port of gRPC (serve/api/recommender.proto) on the same host; 0 turns gRPC off.
        num_candidates: Items that are retrieved and re-ranked for each request.
        timeout_ms: Deadline of a request that does not name one.
        max_timeout_ms: Longest deadline that a request may name.
        poll_s: Seconds between two readings of the live pointer by a replica.
        lease_s: Seconds after which a replica reads the live pointer again before it answers a request.
        stale_pointer: Whether requests are answered while the storage does not say what is live.
        ready_within_s: Seconds that serve.promote, serve.split, serve.refresh and serve.withdraw wait for the replicas.
        breaker_failures: A stage that failed this often in a row is skipped for a while.
        breaker_pause_s: Seconds for which it is skipped; twice as many after each further failure.
        threads: Threads of torch in each replica; with more than its share of the cores, replicas wait for each other.
        ingress: Scale of the ingress, which in the fused topology holds all stages.
        embedder, retriever, reranker: Scale of the stages in the staged topology.
    """

    topology: Topology = Topology.fused
    host: str = "127.0.0.1"
    port: int = bounded(8000, at_least=1, at_most=65_535)
    grpc_port: int = bounded(0, at_least=0, at_most=65_535)
    num_candidates: int = bounded(100, at_least=MAX_K, at_most=10_000)
    timeout_ms: int = bounded(200, at_least=1)
    max_timeout_ms: int = bounded(2000, at_least=1)
    poll_s: float = bounded(0.5, above=0)
    lease_s: float = bounded(3.0, above=0)
    stale_pointer: StalePointer = StalePointer.answer
    ready_within_s: float = bounded(180.0, above=0)
    breaker_failures: int = bounded(5, at_least=1)
    breaker_pause_s: float = bounded(1.0, above=0)
    threads: int = bounded(1, at_least=1, at_most=4096)
    ingress: ScaleConfig = field(default_factory=ScaleConfig)
    embedder: ScaleConfig = field(default_factory=ScaleConfig)
    retriever: ScaleConfig = field(default_factory=ScaleConfig)
    reranker: ScaleConfig = field(default_factory=ScaleConfig)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused, or values that do not go together."""
        check_bounds(self, "serve")
        if self.timeout_ms > self.max_timeout_ms:
            raise ConfigError(
                f"serve.timeout_ms: {self.timeout_ms} must be at most serve.max_timeout_ms ({self.max_timeout_ms})"
            )
        if not self.lease_s > self.poll_s:
            raise ConfigError(f"serve.lease_s: {self.lease_s} must be above serve.poll_s ({self.poll_s})")
        if self.grpc_port == self.port:
            raise ConfigError(f"serve.grpc_port: {self.grpc_port} must lie in 0..65535, and not be serve.port")
        for name in ("ingress", "embedder", "retriever", "reranker"):
            getattr(self, name).check(f"serve.{name}")

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on which the endpoint itself listens."""
        return tuple(filter(None, (self.port, self.grpc_port)))


@dataclass(kw_only=True, slots=True)
class DemoConfig:
    """The values of `serve.demo`.

    Attributes:
        wait: Whether to keep serving until Ctrl-C after the example requests.
        k: Items per answer.
    """

    wait: bool = True
    k: int = bounded(5, at_least=1, at_most=MAX_K)
