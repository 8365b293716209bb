"""cluster.yaml itself on this machine: its node types, labels and limits, on Ray's fake nodes in place of AWS."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.harness.servers import free_port
from tests.towers.sweeps.simulated import ENVIRONMENT, HEAD, PROVIDER, node

CLUSTER_YAML = Path(__file__).parents[3] / "cluster.yaml"
FAKE_HEAD = "ray.head.default"
"""The name of the head's type, which Ray's fake provider has in its code."""

EMPTY: dict[str, Any] = {
    "auth": {}, "docker": {}, "file_mounts": {}, "rsync_exclude": [], "setup_commands": [],
    "initialization_commands": [],
    "head_setup_commands": [], "worker_setup_commands": [], "head_start_ray_commands": [],
    "worker_start_ray_commands": [], "cluster_synced_files": [],
}  # fmt: skip
"""What needs ssh, images, or a cloud."""

STORE_BYTES = 100_000_000
LOOK_S = 0.5

LOOKING = """
import sys, time
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
while True:
    roles = [node["Labels"].get("role", "?") for node in ray.nodes() if node["Alive"]]
    print("roles", *roles, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def on_fake_nodes(address: str, idle_minutes: float) -> dict[str, Any]:
    """cluster.yaml with the provider replaced, the idle time shortened, and nothing else that counts changed."""
    cluster = yaml.safe_load(CLUSTER_YAML.read_text())
    types = cluster["available_node_types"]
    types[FAKE_HEAD] = types.pop("head")
    types[FAKE_HEAD]["max_workers"] = 0
    for each in types.values():
        each["node_config"] = {}
        each.pop("docker", None)
        each["resources"]["object_store_memory"] = STORE_BYTES
    provider = {
        "type": "external", "module": PROVIDER, "launch_multiple": True, "head_node_id": HEAD, "gcs_address": address,
        "disable_node_updaters": True,
    }  # fmt: skip
    return {**cluster, **EMPTY, "provider": provider, "head_node_type": FAKE_HEAD, "idle_timeout_minutes": idle_minutes}


class FakeCluster:
    """A cluster that grows and shrinks by cluster.yaml.

    Args:
        address: of its Ray.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.seen: list[tuple[float, dict[str, int]]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOKING, address, str(LOOK_S)],
            env={**os.environ, **FAKE_ENVIRONMENT}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("roles"):
                roles = line.split()[1:]
                self.seen.append((time.monotonic(), {role: roles.count(role) for role in set(roles)}))

    def nodes(self, role: str) -> int:
        """How many nodes of a type there are."""
        return self.seen[-1][1].get(role, 0) if self.seen else 0

    def most(self, role: str) -> int:
        """How many nodes of a type there have been at most at a time."""
        return max((counts.get(role, 0) for _, counts in self.seen), default=0)

    def wait(self, holds: Callable[[], bool], seconds: float) -> float:
        """Waits until something holds; returns the seconds that it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, self.seen[-3:]
            time.sleep(LOOK_S)
        return time.monotonic() - began

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join()


FAKE_ENVIRONMENT = ENVIRONMENT | {"RAY_prestart_worker_first_driver": "0", "RAY_memory_monitor_refresh_ms": "0"}
"""Without the first: a fake node with 48 CPUs starts 48 Pythons. Without the second, a busy machine ends processes."""


@contextmanager
def fake_cluster(folder: Path, idle_minutes: float = 0.1) -> Iterator[FakeCluster]:
    """The cluster as long as the block lasts."""
    address = f"127.0.0.1:{(port := free_port())}"
    (folder / "cluster.yaml").write_text(yaml.safe_dump(on_fake_nodes(address, idle_minutes)))
    options = (
        "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", "--labels=role=head",
        f"--autoscaling-config={folder / 'cluster.yaml'}",
    )  # fmt: skip
    with node(folder / "head.log", options, FAKE_ENVIRONMENT):
        cluster = FakeCluster(address)
        try:
            yield cluster
        finally:
            cluster.close()
