"""The configuration of `serve.page`, as in conf/page/default.yaml."""

from dataclasses import dataclass, field

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.secrets import recordable
from data.cluster.addresses import is_web_address
from data.cluster.loopback import is_loopback
from serve.api.limits import MAX_K


@dataclass(kw_only=True, slots=True)
class PageConfig:
    """The page where people look at answers.

    Attributes:
        endpoint: The address of the endpoint that the page asks.
        host: The address on which the page listens. Elsewhere than on loopback it needs a token, see `python -m
            serve.page --help`.
        port: The port of the page.
        names: Further names by which browsers may call the page, such as that of a reverse proxy.
        timeout_s: Seconds that the page waits for an answer of the endpoint.
        k: Items per answer, at first.
        send_events: Whether a click on an answer sends an event; otherwise the page changes nothing.
        event_type: The type of these events, one of `events.types` of the endpoint.
        sampled_users: Users of a comparison, and of the audience of an item.
        map_items: Most items on the map of the embedding space.
        metrics: Addresses of Prometheus metrics, such as 127.0.0.1:8080; none means those in `discovery`.
        discovery: The file in which Ray lists the addresses of its metrics; Ray's dashboard writes it.
        every_s: Seconds between two readings of the metrics.
    """

    endpoint: str = "http://127.0.0.1:8000"
    host: str = "127.0.0.1"
    port: int = bounded(8090, at_least=1, at_most=65_535)
    names: list[str] = field(default_factory=list)
    timeout_s: float = bounded(5.0, above=0, at_most=60)
    k: int = bounded(10, at_least=1, at_most=MAX_K)
    send_events: bool = False
    event_type: str = "click"
    sampled_users: int = bounded(300, at_least=1, at_most=10_000)
    map_items: int = bounded(3_000, at_least=10, at_most=20_000)
    metrics: list[str] = field(default_factory=list)
    discovery: str = "/tmp/ray/prom_metrics_service_discovery.json"
    every_s: float = bounded(10.0, at_least=1, at_most=60)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused."""
        check_bounds(self, "page")
        if not is_web_address(self.endpoint):
            raise ConfigError(f"page.endpoint: {recordable(self.endpoint)!r} is no address; write http://host:port")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the page."""
        return is_loopback(self.host)

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the page."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
