"""cluster.yaml at work: its node types come with real work and go again, and never beyond their limits."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from serve.releases.release import Release
from tests.benchmarks.operations.bench_cluster import LIMITS, PATIENCE_S, ask_for_too_many, over_max, serve, train
from tests.benchmarks.operations.fake_cluster import CLUSTER_YAML, NodeWatch, fake_cluster, on_fake_nodes
from tests.benchmarks.operations.serving_cluster import ServingCluster
from tests.reporting.skipping import skip
from towers.evaluation.report import report_of

Grown = tuple[ServingCluster, NodeWatch]


def test_only_what_needs_a_cloud_is_replaced() -> None:
    cluster, fake = yaml.safe_load(CLUSTER_YAML.read_text()), on_fake_nodes("127.0.0.1:1", 0.1)
    for name, node in cluster["available_node_types"].items():
        same = fake["available_node_types"]["ray.head.default" if name == "head" else name]
        assert {key: same[key] for key in ("labels", "min_workers", "max_workers") if key in node} == {
            key: node[key] for key in ("labels", "min_workers", "max_workers") if key in node
        }
        assert node["resources"].items() <= same["resources"].items()
    assert fake["max_workers"] == cluster["max_workers"]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    with fake_cluster(tmp_path_factory.mktemp("cluster")) as (cluster, watch):
        watch.wait(lambda: watch.num("server") == LIMITS["server"]["min_workers"], PATIENCE_S)
        yield cluster, watch
        assert over_max(watch) == 0


@pytest.mark.slow
def test_trainers_come_for_a_training_and_one_that_dies_changes_no_result(grown: Grown, tmp_path: Path) -> None:
    cluster, watch = grown
    assert watch.num("trainer") == LIMITS["trainer"]["min_workers"]
    for name, kill in (("undisturbed", False), ("killed", True)):
        train(cluster, watch, tmp_path / name, kill)
    undisturbed, killed = (metrics(tmp_path / name) for name in ("undisturbed", "killed"))
    assert killed == pytest.approx(undisturbed, abs=1e-6)


def metrics(root: Path) -> dict[str, float]:
    """Those of the checkpoint of a storage."""
    (manifest,) = root.glob("checkpoints/*/manifest.json")
    return report_of(json.loads(manifest.read_text())).metrics


@pytest.mark.slow
def test_more_demand_than_a_limit_brings_no_node_beyond_it(grown: Grown) -> None:
    cluster, watch = grown
    ask_for_too_many(cluster, watch)
    assert max(watch.counts("trainer")) == LIMITS["trainer"]["max_workers"]


@pytest.mark.slow
def test_servers_come_with_load_and_go_again(grown: Grown, release: Release, root: Path) -> None:
    if shutil.which("wrk") is None:
        skip("wrk is not installed", "apt-get install wrk, then the same again")
    cluster, watch = grown
    found = serve(cluster, watch, str(root), seconds=5, users=300)
    assert found["requests"] > 100
    assert watch.num("server") == LIMITS["server"]["min_workers"]
