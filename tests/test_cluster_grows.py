"""cluster.yaml at work: its node types come with real work and go again, and never beyond their limits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.harness.fake_cluster import CLUSTER_YAML, FAKE_ENVIRONMENT, fake_cluster, on_fake_nodes
from tests.conftest import TINY

PATIENCE_S = 150
ROOT = Path(__file__).parents[1]

ASK = """
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=1, num_gpus=4, label_selector={"role": "trainer"})
def role():
    import time
    time.sleep(float(sys.argv[3]))
    return ray.get_runtime_context().get_node_labels()["role"]

print("ran on", *ray.get([role.remote() for _ in range(int(sys.argv[2]))]), flush=True)
"""


def test_only_what_needs_a_cloud_is_replaced() -> None:
    cluster, fake = yaml.safe_load(CLUSTER_YAML.read_text()), on_fake_nodes("127.0.0.1:1", 0.1)
    for name, node in cluster["available_node_types"].items():
        same = fake["available_node_types"]["ray.head.default" if name == "head" else name]
        assert {key: same[key] for key in ("labels", "min_workers", "max_workers") if key in node} == {
            key: node[key] for key in ("labels", "min_workers", "max_workers") if key in node
        }
        assert node["resources"].items() <= same["resources"].items()
    assert fake["max_workers"] == cluster["max_workers"]


def run(*command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **FAKE_ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_trainers_come_for_a_training_and_go_and_never_more_than_the_yaml_says(tmp_path: Path) -> None:
    limits = yaml.safe_load(CLUSTER_YAML.read_text())["available_node_types"]
    with fake_cluster(tmp_path) as cluster:
        cluster.wait(lambda: cluster.nodes("server") == limits["server"]["min_workers"], PATIENCE_S)
        assert cluster.nodes("trainer") == limits["trainer"]["min_workers"] == 0
        training = run(
            "-m", "towers.train", *TINY, f"storage.root={tmp_path / 'var'}", f"cluster.address={cluster.address}",
            "train.num_workers=2", "train.labels.role=trainer", "train.epochs=2",
        )  # fmt: skip
        cluster.wait(lambda: cluster.nodes("trainer") == 1 or training.poll() is not None, PATIENCE_S)
        _, told = training.communicate(timeout=PATIENCE_S)
        assert training.returncode == 0, told[-2000:]
        assert cluster.most("trainer") == 1, "two workers of one CPU fit on one node"
        cluster.wait(lambda: cluster.nodes("trainer") == 0, PATIENCE_S)
        most = limits["trainer"]["max_workers"]
        asking = run("-c", ASK, cluster.address, str(2 * most), "3")
        told, wrong = asking.communicate(timeout=PATIENCE_S)
        assert told.split() == ["ran", "on", *["trainer"] * 2 * most], wrong[-2000:]
        assert cluster.most("trainer") <= most
        assert cluster.most("server") <= limits["server"]["max_workers"]
        cluster.wait(lambda: cluster.nodes("trainer") == 0, PATIENCE_S)
        cluster.wait(lambda: cluster.nodes("server") == limits["server"]["min_workers"], PATIENCE_S)
