"""The manifests: Kubernetes' and KubeRay's schemas take them, and they say what the config says."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from conf.verbs import refuse_unused
from serve.operations.kubernetes.deployed import Deployed, Manifest
from serve.operations.kubernetes.kuberay_rules import broken_rules
from serve.operations.kubernetes.surroundings import OF_NAMESPACE
from serve.operations.written import files, kubernetes, write
from tests.reporting.skipping import skip
from tests.serve.operations.conftest import ON_KUBERNETES

ROOT = Path(__file__).parents[3]
SCHEMAS = os.environ.get("KUBERAY_SCHEMAS", "")
KUBERAY = {"RayService": "rayservices.json", "RayJob": "rayjobs.json", "RayCluster": "rayclusters.json"}
CORE = "1.32"
GATEWAY = ("manifests.hostname=shop.example.com", "manifests.gateway_class=istio")
INCREMENTAL = ("manifests.upgrade=incremental", "manifests.gateway_class=istio")
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "staged": ("serve=staged", "serve.grpc_port=9000"),
    "gateway": GATEWAY,
    "incremental": INCREMENTAL,
    "shared-disk": ("storage.root=/srv/twotower", "manifests.storage_claim=twotower", "manifests.redis_address=null"),
    "cpu-training": ("nodes.types.trainer.gpus=0", "train.num_workers=4"),
}

Deploy = Callable[..., Deployed]


def everything(deployed: Deployed) -> list[Manifest]:
    """Every manifest, that which the CronJob makes included."""
    whole = [manifest for manifests in kubernetes(deployed).values() for manifest in manifests]
    (kept,) = [m for m in whole if m["kind"] == "ConfigMap" and "ray-job.yaml" in m.get("data", {})]
    return [*whole, yaml.safe_load(kept["data"]["ray-job.yaml"])]


def one(deployed: Deployed, kind: str) -> Manifest:
    return next(manifest for manifest in everything(deployed) if manifest["kind"] == kind)


def test_kubernetes_takes_its_own_kinds_and_the_pods_of_ray(deploy: Deploy) -> None:
    seen: dict[str, Manifest] = {}
    for overrides in VARIANTS.values():
        for manifest in everything(deploy(*overrides)):
            for own in [manifest] if not _is_custom(manifest) else _pods(manifest):
                seen[json.dumps(own)] = own
    assert {own["kind"] for own in seen.values()} >= {"CronJob", "PodDisruptionBudget", "NetworkPolicy", "Pod"}
    for own in seen.values():
        kubernetes_validate.validate(own, CORE, strict=True)


def _is_custom(manifest: Manifest) -> bool:
    group = manifest["apiVersion"].partition("/")[0]
    return "." in group and not group.endswith("k8s.io") or group.startswith("gateway.")


def _pods(manifest: Manifest) -> list[Manifest]:
    specs = [group["template"]["spec"] for group in _groups(manifest)]
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec} for spec in specs]


def _groups(manifest: Manifest) -> list[dict[str, Any]]:
    spec = manifest.get("spec", {})
    cluster = spec.get("rayClusterConfig") or spec.get("rayClusterSpec")
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]] if cluster else []


@pytest.mark.parametrize("variant", VARIANTS)
def test_kuberays_schemas_take_its_kinds(deploy: Deploy, variant: str) -> None:
    if not SCHEMAS:
        skip("there are no schemas of KubeRay's kinds", "KUBERAY_SCHEMAS=/where/they/lie make test")
    found = [m for m in everything(deploy(*VARIANTS[variant])) if m["kind"] in KUBERAY]
    assert [m["kind"] for m in found].count("RayJob") == 2
    for manifest in found:
        validator(manifest["kind"]).validate(manifest)


@cache
def validator(kind: str) -> Validator:
    """Of the schema of one of KubeRay's kinds; `jsonschema.validate` would check the whole schema each time."""
    schema = json.loads((Path(SCHEMAS) / KUBERAY[kind]).read_text())
    return validator_for(schema)(schema)


@pytest.mark.parametrize("variant", VARIANTS)
def test_kuberays_own_rules_hold(deploy: Deploy, variant: str) -> None:
    assert not [
        broken_rules(m) for m in everything(deploy(*VARIANTS[variant])) if m["kind"] in KUBERAY and broken_rules(m)
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s["rayClusterConfig"].update(rayVersion="2.51.0"), "token authentication needs Ray 2.52"),
        (lambda s: s["rayClusterConfig"].update(enableInTreeAutoscaling=False), "needs enableInTreeAutoscaling"),
        (lambda s: s["upgradeStrategy"]["clusterUpgradeOptions"].update(stepSizePercent=80, maxSurgePercent=5), "step"),
        (lambda s: s["upgradeStrategy"]["clusterUpgradeOptions"].update(gatewayClassName=""), "gatewayClassName"),
        (lambda s: _first(s)["rayStartParams"].update(labels="a=b"), "not in rayStartParams"),
        (lambda s: _first(s)["rayStartParams"].update({"num-cpus": "3"}), "not in both"),
        (lambda s: _first(s)["template"]["spec"].update(restartPolicy="Always"), "restartPolicy Never"),
        (lambda s: _first(s).update(minReplicas=30), "at most maxReplicas"),
        (lambda s: s["rayClusterConfig"]["workerGroupSpecs"].append(_first(s)), "same name"),
    ],
)  # fmt: skip
def test_what_kuberay_refuses_is_found(deploy: Deploy, change: Callable[[Any], None], complaint: str) -> None:
    service = deepcopy(one(deploy(*INCREMENTAL), "RayService"))
    change(service["spec"])
    assert complaint in "; ".join(broken_rules(service))


def _first(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["rayClusterConfig"]["workerGroupSpecs"][0]


def test_the_endpoint_has_the_nodes_that_serve_and_the_training_those_that_train(deploy: Deploy) -> None:
    deployed = deploy("nodes.types.server.max_workers=40", "serve.ingress.max_replicas=300")
    service, job = one(deployed, "RayService")["spec"], one(deployed, "RayJob")["spec"]
    (server,), (trainer,) = service["rayClusterConfig"]["workerGroupSpecs"], job["rayClusterSpec"]["workerGroupSpecs"]
    assert (server["groupName"], server["minReplicas"], server["maxReplicas"]) == ("server", 1, 40)
    assert (trainer["groupName"], trainer["maxReplicas"], trainer["resources"]["GPU"]) == ("trainer", 4, "4")
    assert "gpu" in trainer["template"]["spec"]["containers"][0]["image"]
    serve = yaml.safe_load(service["serveConfigV2"])
    assert serve["applications"][0]["deployments"][0]["autoscaling_config"]["max_replicas"] == 300
    assert "max_replicas" not in json.dumps(serve["applications"][0]["args"]), "a limit must not restart replicas"
    assert service["rayClusterConfig"]["headGroupSpec"]["resources"] == {"CPU": "0"}


def test_the_training_gets_the_overrides_that_it_uses(deploy: Deploy) -> None:
    job = one(deploy("data=gowalla", "train.epochs=7", "serve.timeout_ms=100", "gate=default"), "RayJob")
    _, _, script = shlex.split(job["spec"]["entrypoint"])
    train, publish = (shlex.split(command) for command in script.split(" && "))
    assert train == [
        "python", "-m", "towers.train", "storage.root=s3://bucket/twotower", "data=gowalla", "train.epochs=7",
        "++train.labels.role=trainer", "train.use_gpu=true", "hydra.run.dir=/tmp/training",
    ]  # fmt: skip
    assert publish[2:4] == ["serve.publish", "checkpoint=/tmp/training"], "whatever has come to the log meanwhile"
    assert {"index.uri=http://milvus:19530", "gate=default"} <= set(publish)
    refuse_unused(publish[2], publish[3:])


def test_the_clock_starts_a_lap_where_it_learns_from_events(deploy: Deploy) -> None:
    deployed = deploy("data=events", "cycle.canary_percent=10", "serve.timeout_ms=100")
    kept = yaml.safe_load(one(deployed, "ConfigMap")["data"]["ray-job.yaml"])
    lap = shlex.split(kept["spec"]["entrypoint"])
    assert lap[:3] == ["python", "-m", "serve.cycle"]
    assert kept["spec"]["backoffLimit"] == 0, "a lap that was stopped would train, and try its release, once more"
    assert one(deployed, "RayJob")["spec"]["backoffLimit"] == 0, "a verdict of the gate would cost a second training"
    assert {"data=events", "cycle.canary_percent=10", "++train.labels.role=trainer"} <= set(lap)
    assert "serve.timeout_ms=100" not in lap
    assert "towers.train" in one(deployed, "RayJob")["spec"]["entrypoint"]


def test_the_network_policy_admits_whoever_submits_a_job(deploy: Deploy) -> None:
    """KubeRay gives no labels to a submitter pod, so a policy by labels keeps it from the head."""
    assert one(deploy(), "RayJob")["spec"]["submissionMode"] == "HTTPMode"
    policy = one(deploy(), "NetworkPolicy")
    (operator,) = [
        rule for rule in policy["spec"]["ingress"] if {"protocol": "TCP", "port": 8265} in rule.get("ports", [])
    ]
    assert operator["from"][0]["namespaceSelector"]["matchLabels"] == {
        OF_NAMESPACE: deploy().manifests.operator_namespace
    }


def test_haproxy_admits_what_the_replicas_take(deploy: Deploy) -> None:
    wide = ("serve.ingress.max_ongoing_requests=64", "serve.ingress.max_queued_requests=64")
    assert "TWOTOWER_IN_FLIGHT=128" in files(deploy(*wide))["cluster.yaml"]
    assert "TWOTOWER_IN_FLIGHT" not in files(deploy())["cluster.yaml"], "64 is what HAProxy admits without it"


def test_no_secret_is_in_a_manifest(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "root:very-secret")
    assert "very-secret" not in "".join(files(deploy()).values())


def test_the_budget_never_lets_the_last_node_go(deploy: Deploy) -> None:
    for fewest, stays in ((1, 1), (2, 1), (6, 5)):
        budget = one(deploy(f"nodes.types.server.min_workers={fewest}"), "PodDisruptionBudget")
        assert budget["spec"]["minAvailable"] == stays


def test_what_is_written_no_longer_goes_and_what_is_of_somebody_else_stays(deploy: Deploy, tmp_path: Path) -> None:
    """Such as a Secret or a kustomization of one's own, beside what `kubectl apply -f FOLDER` takes."""
    write(files(deploy(*GATEWAY)), tmp_path)
    assert (tmp_path / "kubernetes" / "gateway.yaml").exists()
    own = tmp_path / "kubernetes" / "kustomization.yaml"
    own.write_text("resources: [ray-service.yaml]\n")
    write(files(deploy()), tmp_path)
    assert not (tmp_path / "kubernetes" / "gateway.yaml").exists()
    assert own.exists()
    other = tmp_path / "kubernetes" / "gateway.yaml"
    other.write_text("kind: Gateway\nmetadata: {name: of-our-own}\n")
    write(files(deploy()), tmp_path)
    assert other.exists()


def test_the_command_writes_them_for_yaml_of_ones_own_too(tmp_path: Path) -> None:
    own = tmp_path / "myconf" / "data" / "shop.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [parquet, _self_]\nname: shop\nsource: {interactions: s3://bucket/clicks}\n")
    overrides = (*ON_KUBERNETES, "nodes.types.server.max_workers=9", f"manifests.folder={tmp_path}", "data=shop")
    options = ["--config-dir", "myconf", f"hydra.run.dir={tmp_path}/run"]
    command = [sys.executable, "-m", "serve.manifests", *options, *overrides]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    job = yaml.safe_load((tmp_path / "kubernetes" / "ray-job.yaml").read_text())
    for command_of_pod in shlex.split(job["spec"]["entrypoint"])[2].split(" && "):
        assert shlex.split(command_of_pod)[3:5] == ["--config-dir", "myconf"], "data=shop is in no other folder"
    assert "--config-dir myconf: the image must have" in done.stdout
    service = yaml.safe_load((tmp_path / "kubernetes" / "ray-service.yaml").read_text())
    cluster = yaml.safe_load((tmp_path / "cluster.yaml").read_text())
    assert _first(service["spec"])["maxReplicas"] == cluster["available_node_types"]["server"]["max_workers"] == 9
