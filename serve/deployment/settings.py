"""How the endpoint is laid out, limited and scaled: the values of `serve=fused` and `serve=staged`."""

from dataclasses import dataclass, field
from enum import Enum

from data.artifacts.errors import ConfigError
from serve.api.limits import MAX_K


class Topology(Enum):
    fused = "fused"  # all stages in each ingress replica: a function call between stages
    staged = "staged"  # each stage a deployment of its own, scaled and placed by itself


@dataclass(kw_only=True, slots=True)
class ScaleConfig:
    """One deployment's replicas and queue. What a stage counts are calls, of up to 32 requests each (serve/pipeline/remote_batcher.py).

    Attributes:
        min_replicas, max_replicas: equal means fixed.
        target_ongoing_requests: requests in progress per replica that autoscaling steers to, by their mean over
            look_back_s.
        upscale_delay_s, downscale_delay_s: more replicas must have been called for so long, or fewer.
        max_ongoing_requests: in progress per replica at most; more wait.
        max_queued_requests: waiting at most; beyond it 503 with Retry-After.
        num_cpus, num_gpus: reserved per replica.
        labels: of the nodes where replicas may run, such as {role: server} of cluster.yaml.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    target_ongoing_requests: float = 8
    look_back_s: float = 12.0  # Ray Serve wants more than 10
    upscale_delay_s: float = 3.0
    downscale_delay_s: float = 120.0
    max_ongoing_requests: int = 32
    max_queued_requests: int = 32
    num_cpus: float = 0.5
    num_gpus: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        """Requests that a replica has at most."""
        return self.max_ongoing_requests + self.max_queued_requests

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ConfigError(
                f"serve: min_replicas ({self.min_replicas}) must lie in 1..max_replicas ({self.max_replicas})"
            )
        if not 0 < self.target_ongoing_requests <= self.max_ongoing_requests:
            raise ConfigError(
                f"serve: target_ongoing_requests ({self.target_ongoing_requests}) must lie above 0 and at most at"
                f" max_ongoing_requests ({self.max_ongoing_requests}), or nothing ever scales"
            )
        if not self.look_back_s > 0 or self.upscale_delay_s < 0 or self.downscale_delay_s < 0:
            raise ConfigError(
                f"serve: look_back_s ({self.look_back_s}) must be above 0, upscale_delay_s ({self.upscale_delay_s}) and"
                f" downscale_delay_s ({self.downscale_delay_s}) at least 0"
            )


@dataclass(kw_only=True, slots=True)
class ServeConfig:
    """The endpoint.

    Attributes:
        host, port: where it listens.
        grpc_port: where it listens for gRPC (serve/recommender.proto), on the same host; 0 does not.
        num_candidates: retrieved per query, and re-ranked.
        timeout_ms: deadline of a request that names none; max_timeout_ms: the most that a request may name.
        poll_s: how often a replica looks at the live pointer; lease_s: it answers by no older look than this.
        ready_within_s: how long serve.promote waits until every replica has made a release ready.
        breaker_failures: a stage that failed so often in a row is left alone for breaker_pause_s, and for twice as long
            each time that it fails again.
        threads: of torch in each replica; more than its share of the cores makes replicas wait for each other.
        ingress: scale of the ingress (fused: of everything).
        embedder, retriever, reranker: scale of the stages (staged only).
    """

    topology: Topology = Topology.fused
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int = 0
    num_candidates: int = 100
    timeout_ms: int = 200
    max_timeout_ms: int = 2000
    poll_s: float = 0.5
    lease_s: float = 3.0
    ready_within_s: float = 180.0
    breaker_failures: int = 5
    breaker_pause_s: float = 1.0
    threads: int = 1
    ingress: ScaleConfig = field(default_factory=ScaleConfig)
    embedder: ScaleConfig = field(default_factory=ScaleConfig)
    retriever: ScaleConfig = field(default_factory=ScaleConfig)
    reranker: ScaleConfig = field(default_factory=ScaleConfig)

    def __post_init__(self) -> None:
        if not MAX_K <= self.num_candidates <= 10_000:
            raise ConfigError(f"serve.num_candidates: {self.num_candidates} must lie in {MAX_K}..10000")
        if not 1 <= self.timeout_ms <= self.max_timeout_ms:
            raise ConfigError(f"serve.timeout_ms: {self.timeout_ms} must lie in 1..max_timeout_ms")
        if not 1 <= self.port <= 65_535:
            raise ConfigError(f"serve.port: {self.port} must lie in 1..65535")
        if not self.lease_s > self.poll_s:
            raise ConfigError(f"serve.lease_s: {self.lease_s} must be above serve.poll_s ({self.poll_s})")
        if not 0 <= self.grpc_port <= 65_535 or self.grpc_port == self.port:
            raise ConfigError(f"serve.grpc_port: {self.grpc_port} must lie in 0..65535, and not be serve.port")
        for name in ("poll_s", "ready_within_s", "breaker_failures", "breaker_pause_s", "threads"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"serve.{name}: {getattr(self, name)} must be above 0")


@dataclass(kw_only=True, slots=True)
class DemoConfig:
    """The demonstration.

    Attributes:
        wait: keep serving until Ctrl-C after the requests.
        k: items per answer.
    """

    wait: bool = True
    k: int = 5
