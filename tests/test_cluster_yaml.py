"""cluster.yaml: Ray accepts it, and it says what the guide for operators says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import up

from conf.schema import load
from serve.operations.cluster_yaml import cluster_yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "cluster.yaml"
STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_rays_own_schema_accepts_it(cluster: dict[str, Any]) -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    validate_config(prepare_config(cluster))


def test_it_is_what_the_values_of_conf_nodes_make_of_it() -> None:
    assert FILE.read_text() == cluster_yaml(load().nodes), "python -m serve.manifests writes it"


def test_a_misspelt_key_would_be_refused(cluster: dict[str, Any]) -> None:
    cluster["available_node_types"]["server"]["max_worker"] = 3
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    with pytest.raises(jsonschema.ValidationError, match="max_worker"):
        jsonschema.validate(cluster, schema)


def test_node_types(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    assert types[cluster["head_node_type"]]["resources"] == {"CPU": 0}, "the head runs no work"
    assert types["trainer"]["resources"]["GPU"] > 0
    assert types["trainer"]["min_workers"] == 0
    assert types["server"]["resources"].keys() == {"CPU"}
    assert 1 <= types["server"]["min_workers"] < types["server"]["max_workers"]
    assert {name: t["labels"]["role"] for name, t in types.items()} == {name: name for name in types}
    assert cluster["max_workers"] >= sum(t.get("max_workers", 0) for t in types.values())


def test_settings_are_exported_before_ray_starts(cluster: dict[str, Any]) -> None:
    for name in STARTS:
        (start,) = [command for command in cluster[name] if "ray start" in command]
        before = start.split("ray start")[0]
        for setting in ("RAY_AUTH_MODE=token", "RAY_SERVE_THROUGHPUT_OPTIMIZED=1", "RAY_SERVE_ENABLE_HA_PROXY=1"):
            assert setting in before


def test_training_and_serving_can_be_sent_to_their_nodes() -> None:
    config = load(["+train.labels.role=trainer", "+serve.ingress.labels.role=server"])
    assert config.train.labels == {"role": "trainer"}
    assert config.serve.ingress.labels == {"role": "server"}


def test_a_change_is_told_to_a_cluster_that_runs_without_a_restart() -> None:
    """Without the option, `ray up` runs `head_start_ray_commands` again, which begin with `ray stop`."""
    assert "--no-restart" in {option for parameter in up.params for option in parameter.opts}
    for path in (FILE, ROOT / "README.md", ROOT / "docs" / "operators.md"):
        lines = [
            line for line in path.read_text().splitlines() if "ray up" in line and "after a change" in line.lower()
        ]
        assert lines, path
        for line in lines:
            assert "ray up --no-restart cluster.yaml" in line, line
