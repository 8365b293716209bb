"""The configuration of `serve.watch`, as in conf/watch/default.yaml."""

from dataclasses import dataclass

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class WatchConfig:
    """A Prometheus and a page on this machine, for where no Grafana is at hand.

    Attributes:
        folder: where Prometheus keeps its configuration and what it has scraped.
        port: the loopback port of the page.
        prometheus_port: the loopback port of Prometheus.
        discovery: the file in which Ray lists the addresses of its metrics; Ray's dashboard writes it.
        haproxy: the address of HAProxy's metrics.
        every_s: seconds between two scrapes.
        minutes: the time that the page shows.
    """

    folder: str = "./var/watch"
    port: int = bounded(3000, at_least=1, at_most=65_535)
    prometheus_port: int = bounded(9090, at_least=1, at_most=65_535)
    discovery: str = "/tmp/ray/prom_metrics_service_discovery.json"
    haproxy: str = "127.0.0.1:9101"
    every_s: int = bounded(5, at_least=1, at_most=15)
    minutes: int = bounded(15, at_least=1, at_most=1440)

    def __post_init__(self) -> None:
        """Raises ConfigError for a value that is refused, or values that do not go together."""
        check_bounds(self, "watch")
        if self.port == self.prometheus_port:
            raise ConfigError(f"watch.prometheus_port: {self.prometheus_port} is watch.port too; choose another")
