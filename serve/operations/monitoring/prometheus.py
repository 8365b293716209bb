"""A Prometheus on this machine, which scrapes Ray and HAProxy and evaluates the alert rules."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from data.artifacts.errors import UserError
from data.cluster.machine import bind_error
from serve.operations.monitoring.alerts import rules
from serve.operations.monitoring.config import WatchConfig
from serve.operations.objectives import Objectives

START_S = 30.0
"""Seconds within which Prometheus must be ready."""


class PrometheusUnavailable(UserError, ConnectionError):
    """Prometheus cannot be started, or does not answer."""


def configuration(config: WatchConfig) -> dict[str, Any]:
    """Returns prometheus.yml as values."""
    return {
        "global": {"scrape_interval": f"{config.every_s}s", "evaluation_interval": f"{config.every_s}s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {"job_name": "ray", "file_sd_configs": [{"files": [config.discovery]}]},
            {"job_name": "haproxy", "static_configs": [{"targets": [config.haproxy]}]},
        ],
    }


@contextmanager
def running_prometheus(config: WatchConfig, objectives: Objectives) -> Iterator["Prometheus"]:
    """Runs Prometheus as long as the block lasts.

    Raises:
        PrometheusUnavailable: it is not installed, Ray does not say what to scrape, another process listens on its
            port (another Prometheus would answer in its place), or it does not become ready.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        raise PrometheusUnavailable("prometheus: not on the PATH; on Debian: apt-get install prometheus")
    if not Path(config.discovery).exists():
        raise PrometheusUnavailable(
            f"watch.discovery: {config.discovery} does not exist; Ray's dashboard writes it: start the endpoint with"
            " cluster.dashboard=true, or name the file"
        )
    if (error := bind_error("127.0.0.1", config.prometheus_port)) is not None:
        raise PrometheusUnavailable(
            f"watch.prometheus_port: 127.0.0.1:{config.prometheus_port} is in use ({error.strerror}), perhaps by a"
            " Prometheus of the system; pass watch.prometheus_port=..."
        )
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(config), sort_keys=False))
    (folder / "rules.yml").write_text(yaml.safe_dump(rules(objectives), sort_keys=False, width=120))
    command = [
        binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{config.prometheus_port}", "--storage.tsdb.retention.time=1d",
        "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{config.prometheus_port}")
        _await(prometheus, process, folder / "prometheus.log")
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)


class Prometheus:
    """A Prometheus that runs.

    Args:
        address: its address.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str | float) -> Any:
        """Returns the data of an answer of its HTTP API; raises PrometheusUnavailable where it does not give one."""
        try:
            with urlopen(f"{self.address}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as e:
            raise PrometheusUnavailable(f"Prometheus refuses {path} {parameters}: {e.read().decode()[:300]}") from e
        except (URLError, OSError) as e:
            raise PrometheusUnavailable(f"Prometheus at {self.address} does not answer: {e}") from e

    def series(self, query: str, minutes: float, num_points: int = 120) -> list[dict[str, Any]]:
        """Returns the series of a query over the last minutes, as of `query_range`."""
        now = time.time()
        step = max(60 * minutes / num_points, 1)
        found: list[dict[str, Any]] = self.get(
            "query_range", query=query, start=now - 60 * minutes, end=now, step=step
        )["result"]  # fmt: skip
        return found


def _await(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            prometheus.get("targets")
        except PrometheusUnavailable:
            time.sleep(0.2)
        else:
            return
    raise PrometheusUnavailable(f"Prometheus at {prometheus.address} did not start: {log.read_text()[-300:].strip()}")
