"""Ray clusters of several nodes on one machine: nodes that come and go by autoscaling, and nodes that a test adds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from ray._common.utils import get_ray_address_file

from tests.benchmarks.harness.servers import free_port

HEAD = "f" * 54 + "00"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
PLAIN = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
"""Environment of everything that works with a cluster of these."""

ENVIRONMENT = PLAIN | {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
}
"""The same for a cluster that scales."""


@contextmanager
def autoscaling(folder: Path, node_cpus: int, most: int) -> Iterator[str]:
    """A head without CPUs, and up to `most` nodes of Ray's own fake provider, which come and go; yields the address."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    (folder / "cluster.yaml").write_text(yaml.safe_dump(described(address, node_cpus, most)))
    options = (
        "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false",
        f"--autoscaling-config={folder / 'cluster.yaml'}",
    )  # fmt: skip
    with node(folder / "head.log", options, ENVIRONMENT):
        yield address


@contextmanager
def head(folder: Path, num_cpus: int, resources: dict[str, float]) -> Iterator[str]:
    """The head of a cluster, which never ends a process for want of memory; yields the address."""
    port = free_port()
    options = (
        "--head", f"--port={port}", f"--num-cpus={num_cpus}", "--include-dashboard=false",
        f"--resources={json.dumps(resources)}",
    )  # fmt: skip
    with node(folder / "head.log", options, PLAIN | {"RAY_memory_monitor_refresh_ms": "0"}):
        yield f"127.0.0.1:{port}"


@contextmanager
def node(log_file: Path, options: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    """A node that runs until the block ends, started by `ray start` with these options."""
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--block", "--node-ip-address=127.0.0.1",
        "--disable-usage-stats", "--object-store-memory=200000000", *options,
    ]  # fmt: skip
    process = start_node(command, log_file, {**os.environ, **environment})
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        forget(options)


def start_node(command: Sequence[str], log_file: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts a node; tries again where a busy machine does not bring it up in the 30 s that Ray 2.60 allows."""
    for _ in range(10):
        with log_file.open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        while process.poll() is None:
            if "Ray runtime started" in log_file.read_text():
                return process
            time.sleep(0.2)
        assert "timed out during startup" in log_file.read_text(), log_file.read_text()
    raise AssertionError(log_file.read_text())


def forget(options: Sequence[str]) -> None:
    """Removes the file in which others would look for the cluster of this head."""
    address_file = Path(get_ray_address_file(None))
    ports = [option.removeprefix("--port=") for option in options if option.startswith("--port=")]
    if ports and address_file.exists() and address_file.read_text().endswith(f":{ports[0]}"):
        address_file.unlink()


def described(address: str, node_cpus: int, most: int) -> dict[str, object]:
    """The cluster's yaml."""
    resources = {"CPU": node_cpus, "object_store_memory": 200_000_000}
    return {
        "cluster_name": "simulated",
        "max_workers": most,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "launch_multiple": True,
            "head_node_id": HEAD,
            "gcs_address": address,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "node": {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": most},
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "file_mounts": {},
        "setup_commands": [],
        "initialization_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        "cluster_synced_files": [],
    }
