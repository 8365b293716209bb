"""An autoscaling Ray cluster on one machine: nodes are processes of Ray's own fake provider, which come and go."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from ray._common.utils import get_ray_address_file

from tests.benchmarks.servers import free_port

HEAD = "f" * 54 + "00"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
}


@contextmanager
def autoscaling(folder: Path, node_cpus: int, most: int) -> Iterator[str]:
    """A head without CPUs, and up to `most` nodes that come when they are wanted; yields the address."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    (folder / "cluster.yaml").write_text(yaml.safe_dump(described(address, node_cpus, most)))
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1",
        f"--port={port}", "--num-cpus=0", "--include-dashboard=false", "--disable-usage-stats",
        f"--autoscaling-config={folder / 'cluster.yaml'}", "--object-store-memory=200000000",
    ]  # fmt: skip
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        ends = time.monotonic() + 60
        while "Ray runtime started" not in (folder / "head.log").read_text():
            assert head.poll() is None and time.monotonic() < ends, (folder / "head.log").read_text()
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
        told = Path(get_ray_address_file(None))  # where others would look for this cluster
        if told.exists() and told.read_text().endswith(f":{port}"):
            told.unlink()


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
