"""A cluster of several nodes on this machine that serves by a Serve config alone, with no driver's job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from serve.operations.cluster_yaml import ENVIRONMENT
from tests.benchmarks.harness.servers import free_port

STORE_BYTES = 100_000_000
ALONE = {"RAY_AUTH_MODE": "disabled"}
"""Ray's token is checked elsewhere; here the dashboard takes the Serve config without one, on loopback."""

UP_S = 120.0


@dataclass(slots=True)
class ServingCluster:
    """A head without CPUs, on which the proxies are, and nodes for replicas.

    Attributes:
        folder: where the nodes log.
        port: the port of Ray.
        dashboard: the address that takes Serve configs.
        nodes: the processes of the nodes by name.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def add(self, name: str, num_cpus: int) -> None:
        """Starts a node that replicas may use."""
        self._start(
            name, f"--address=127.0.0.1:{self.port}", f"--num-cpus={num_cpus}", f"--labels=role=server,name={name}"
        )

    def start_head(self) -> None:
        self._start(
            "head", "--head", f"--port={self.port}", "--num-cpus=0", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard_port}", "--labels=role=head",
        )  # fmt: skip
        self._await(lambda: httpx.get(f"{self.dashboard}/api/version", timeout=2).status_code == 200, "the dashboard")

    def _start(self, name: str, *options: str) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        command = [
            ray, "start", "--block", "--node-ip-address=127.0.0.1", "--disable-usage-stats",
            f"--object-store-memory={STORE_BYTES}", *options,
        ]  # fmt: skip
        environment = {**os.environ, **ENVIRONMENT, **ALONE, "PYTHONPATH": str(Path.cwd())}
        log = (self.folder / f"{name}.log").open("w")
        self.nodes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def apply(self, config: dict[str, Any]) -> None:
        """Applies a Serve config, as `serve deploy` does."""
        answer = httpx.put(f"{self.dashboard}/api/serve/applications/", json=config, timeout=60)
        assert answer.status_code == 200, answer.text

    def applications(self) -> dict[str, Any]:
        """What Serve says of its applications."""
        found: dict[str, Any] = httpx.get(f"{self.dashboard}/api/serve/applications/", timeout=60).json()[
            "applications"
        ]
        return found

    def await_status(self, status: str = "RUNNING", seconds: float = UP_S, application: str = "recommender") -> str:
        """Waits until an application has this status; returns its message."""
        self._await(lambda: self.applications().get(application, {}).get("status") == status, status, seconds)
        return str(self.applications()[application]["message"])

    def _await(self, holds: Any, what: str, seconds: float = UP_S) -> None:
        ends = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > ends:
                raise AssertionError(f"{what}: not within {seconds:g} s; see {self.folder}")
            time.sleep(0.5)

    def stop(self, name: str) -> None:
        process = self.nodes.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def serving_cluster(folder: Path) -> Iterator[ServingCluster]:
    """A head as long as the block lasts, with the nodes that are added to it."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = ServingCluster(folder.absolute())
    with ExitStack() as stack:
        stack.callback(lambda: [cluster.stop(name) for name in reversed(list(cluster.nodes))])
        cluster.start_head()
        yield cluster
