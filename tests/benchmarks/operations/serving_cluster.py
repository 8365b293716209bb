"""A cluster of several nodes on this machine that serves by a Serve config alone, with no driver's job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from serve.operations.cluster_yaml import ENVIRONMENT
from tests.benchmarks.harness.servers import free_port
from tests.conformance.redis_server import serving_redis
from tests.towers.sweeps.simulated import forget, start_node

STORE_BYTES = 100_000_000
ALONE = {"RAY_AUTH_MODE": "disabled"}
"""Ray's token is checked elsewhere; here the dashboard takes the Serve config without one, on loopback."""

UP_S = 180.0


@dataclass(slots=True)
class ServingCluster:
    """A head without CPUs, and nodes for replicas, each with a proxy.

    Attributes:
        folder: where the nodes log.
        environment: further environment variables of all nodes.
        port, dashboard_port: the ports of Ray, and of the dashboard, which takes Serve configs.
        nodes: the processes of the nodes by name.
        proxy_ports: the ports on which the proxies of nodes with replicas listen, by name.
    """

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    proxy_ports: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def add(self, name: str, num_cpus: int) -> None:
        """Starts a node that replicas may use."""
        self._start(name, f"--address={self.address}", f"--num-cpus={num_cpus}", f"--labels=role=server,name={name}")

    def start_head(self, *options: str) -> None:
        """Starts the head; or a new one in its place, which goes on from what Redis holds."""
        # Nodes that are left on this machine name the head's address; on one of its own Ray sees none of them.
        forget([f"--port={self.port}"])
        self._start(
            "head", "--head", f"--port={self.port}", "--num-cpus=0", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard_port}", "--labels=role=head", *options,
        )  # fmt: skip
        self.wait(lambda: httpx.get(f"{self.dashboard}/api/version", timeout=2).status_code == 200, "the dashboard")

    def environment_of(self, name: str = "head") -> dict[str, str]:
        """The environment of a node; all HAProxies are on this machine, so each has ports of its own."""
        own = {f"RAY_SERVE_HAPROXY_{each}_PORT": str(free_port()) for each in ("METRICS", "STATS")}
        if name != "head":
            self.proxy_ports[name] = free_port()
            own["RAY_SERVE_WORKER_PROXY_HTTP_PORT"] = str(self.proxy_ports[name])
        return {**os.environ, **ENVIRONMENT, **ALONE, **self.environment, **own, "PYTHONPATH": str(Path.cwd())}

    def _start(self, name: str, *options: str) -> None:
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--block", "--node-ip-address=127.0.0.1",
            "--disable-usage-stats", f"--object-store-memory={STORE_BYTES}", *options,
        ]  # fmt: skip
        self.nodes[name] = start_node(command, self.folder / f"{name}.log", self.environment_of(name))

    def apply(self, config: dict[str, Any]) -> None:
        """Applies a Serve config, as `serve deploy` does."""
        answer = httpx.put(f"{self.dashboard}/api/serve/applications/", json=config, timeout=60)
        assert answer.status_code == 200, answer.text

    def applications(self) -> dict[str, Any]:
        """What Serve says of its applications."""
        answer = httpx.get(f"{self.dashboard}/api/serve/applications/", timeout=60).raise_for_status()
        return dict(answer.json()["applications"])

    def complaints(self) -> str:
        """What Serve says of the application and its deployments, where not all is well."""
        found = self.applications()["recommender"]
        return " ".join([found["message"], *(each["message"] for each in found["deployments"].values())])

    def replicas(self) -> list[dict[str, Any]]:
        """The replicas of the ingress that run."""
        found = self.applications()["recommender"]["deployments"]["Recommender"]["replicas"]
        return [replica for replica in found if replica["state"] == "RUNNING"]

    def replica_ids(self) -> set[str]:
        """The ids of the replicas of the ingress that run."""
        return {replica["replica_id"] for replica in self.replicas()}

    def await_status(self, status: str = "RUNNING", seconds: float = UP_S, application: str = "recommender") -> str:
        """Waits until an application has this status; returns its message."""
        self.wait(lambda: self.applications().get(application, {}).get("status") == status, status, seconds)
        return str(self.applications()[application]["message"])

    def wait(self, holds: Callable[[], bool], what: str, seconds: float = UP_S) -> float:
        """Waits until something holds, and returns how long that was; what does not answer does not hold."""
        began = time.monotonic()
        while True:
            try:
                if holds():
                    return time.monotonic() - began
            except (httpx.TransportError, httpx.HTTPStatusError):
                pass
            if time.monotonic() > began + seconds:
                raise AssertionError(f"{what}: not within {seconds:g} s; see {self.folder}")
            time.sleep(0.25)

    def kill(self, name: str) -> None:
        """Ends all processes of a node at once."""
        process = self.nodes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> None:
        """Ends a node."""
        process = self.nodes.pop(name)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def close(self) -> None:
        """Ends all nodes, the head last."""
        for name in reversed(list(self.nodes)):
            self.stop(name)
        forget([f"--port={self.port}"])


@contextmanager
def started(cluster: ServingCluster, *options: str) -> Iterator[ServingCluster]:
    """The cluster with its head as long as the block lasts, and with the nodes that are added to it.

    Args:
        options: further ones of `ray start --head`.
    """
    try:
        cluster.start_head(*options)
        yield cluster
    finally:
        cluster.close()


@contextmanager
def serving_cluster(folder: Path) -> Iterator[ServingCluster]:
    """A head whose state is in a Redis, for which nodes wait as KubeRay has them wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        redis = stack.enter_context(serving_redis(folder)).removeprefix("redis://")
        patient = {"RAY_REDIS_ADDRESS": redis, "RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
        yield stack.enter_context(started(ServingCluster(folder.absolute(), patient)))
