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

import psutil
import yaml

from tests.benchmarks.operations.serving_cluster import STORE_BYTES, ServingCluster, started
from tests.towers.sweeps.simulated import ENVIRONMENT, HEAD, PROVIDER

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

LOOK_S = 0.25

LOOKING = """
import sys, time
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
while True:
    alive = [node for node in ray.nodes() if node["Alive"]]
    print("nodes", *(f"{node['Labels'].get('role', '?')}:{node['NodeID']}" for node in alive), flush=True)
    time.sleep(float(sys.argv[2]))
"""

FAKE_ENVIRONMENT = ENVIRONMENT | {"RAY_prestart_worker_first_driver": "0", "RAY_memory_monitor_refresh_ms": "0"}
"""Without the first, a fake node with 48 CPUs starts 48 Pythons. Without the second, a busy machine ends processes."""


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


class NodeWatch:
    """How many nodes of each type there are, several times a second.

    Args:
        address: of a Ray.
    """

    def __init__(self, address: str) -> None:
        self.seen: list[tuple[float, list[tuple[str, str]]]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOKING, address, str(LOOK_S)],
            env={**os.environ, **FAKE_ENVIRONMENT}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("nodes"):
                pairs = [node.split(":") for node in line.split()[1:]]
                self.seen.append((time.monotonic(), [(role, node_id) for role, node_id in pairs]))

    def ids(self, role: str) -> list[str]:
        """The ids of the nodes of a type."""
        return [node_id for each, node_id in self.seen[-1][1] if each == role] if self.seen else []

    def num(self, role: str) -> int:
        """How many nodes of a type there are."""
        return len(self.ids(role))

    def counts(self, role: str) -> list[int]:
        """How many nodes of a type there have been, at each look."""
        return [sum(each == role for each, _ in nodes) for _, nodes in self.seen]

    def last(self, role: str) -> float:
        """When a node of a type was last there, in monotonic seconds."""
        return max(when for when, nodes in self.seen if any(each == role for each, _ in nodes))

    def wait(self, holds: Callable[[], bool], seconds: float) -> float:
        """Waits until something holds; returns the seconds that it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, self.seen[-3:]
            time.sleep(LOOK_S)
        return time.monotonic() - began

    def close(self) -> None:
        """Ends the watch."""
        self._process.kill()
        self._process.wait()
        self._reading.join()


def kill_node(node_id: str) -> None:
    """Ends the raylet of a node, with which its workers end."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if command and command[0].endswith("/raylet") and any(node_id in part for part in command):
            process.kill()
            return
    raise AssertionError(f"no raylet has the id {node_id}")


@contextmanager
def fake_cluster(folder: Path, idle_minutes: float = 0.1) -> Iterator[tuple[ServingCluster, NodeWatch]]:
    """The cluster as long as the block lasts, and what nodes it has."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = ServingCluster(folder.absolute(), FAKE_ENVIRONMENT)
    file = folder.absolute() / "cluster.yaml"
    file.write_text(yaml.safe_dump(on_fake_nodes(cluster.address, idle_minutes)))
    with started(cluster, f"--autoscaling-config={file}"):
        watch = NodeWatch(cluster.address)
        try:
            yield cluster, watch
        finally:
            watch.close()
