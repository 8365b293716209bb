"""The files that `serve.manifests` writes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from data.artifacts.errors import ConfigError
from data.artifacts.json_text import json_text
from serve.deployment.declared import deploy_config
from serve.operations.cluster_yaml import cluster_yaml
from serve.operations.fitting import refuse_credentials, refuse_local, refuse_unfit
from serve.operations.kubernetes.deployed import NAME_LABEL, Deployed, Manifest
from serve.operations.kubernetes.kuberay_rules import broken_rules
from serve.operations.kubernetes.milvus import milvus_values
from serve.operations.kubernetes.monitors import dashboards_to_find, pod_monitor, prometheus_rule
from serve.operations.kubernetes.ray_job import ray_job, retraining
from serve.operations.kubernetes.ray_service import ray_service
from serve.operations.kubernetes.surroundings import disruption_budget, gateway, network_policy, service
from serve.operations.monitoring.alerts import rules
from serve.operations.monitoring.grafana import dashboards

SOMETIMES = ("kubernetes/gateway.yaml",)
"""The files that some values alone give."""


def files(deployed: Deployed) -> dict[str, str]:
    """Returns the text of every file, by its path below the folder of the manifests.

    Raises:
        ConfigError: the values do not go together; the message says which one to change.
    """
    refuse_unfit(deployed, deployed.nodes)
    refuse_local(deployed, deployed.manifests.storage_claim)
    found = {
        "cluster.yaml": cluster_yaml(deployed.nodes, deployed.serve.ingress.in_flight),
        "serve-config.yaml": _text([deploy_config(deployed)]),
        "milvus-values.yaml": _text([milvus_values(deployed.manifests.milvus)]),
    }
    refuse_credentials([*deployed.recipe, *deployed.publish, *deployed.cycle])
    found["monitoring/rules.yaml"] = _text([rules(deployed.manifests.objectives)])
    for name, board in dashboards().items():
        found[f"monitoring/dashboards/{name}.json"] = json_text(board, indent=1) + "\n"
    for name, manifests in kubernetes(deployed).items():
        found[f"kubernetes/{name}.yaml"] = _text(manifests)
    return found


def kubernetes(deployed: Deployed) -> dict[str, list[Manifest]]:
    """Returns the manifests for `kubectl apply`, by the name of their file; raises ConfigError as `files` does."""
    found = {
        "ray-service": [ray_service(deployed)],
        "ray-job": [ray_job(deployed)],
        "retraining": retraining(deployed),
        "disruption-budget": [disruption_budget(deployed)],
        "network-policy": [network_policy(deployed)],
        "service": [service(deployed)],
        "pod-monitor": [pod_monitor(deployed)],
        "alerts": [prometheus_rule(deployed)],
        "dashboards": dashboards_to_find(deployed),
    }
    if gates := gateway(deployed):
        found["gateway"] = gates
    for manifest in _of_ray(found):
        if broken := broken_rules(manifest):
            raise ConfigError(f"manifests: KubeRay refuses the {manifest['kind']}: {'; '.join(broken)}")
    return found


def write(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Writes the files below a folder, and removes those of an earlier time that are written no longer.

    Whatever else lies there, such as manifests of one's own that `kubectl apply` takes along, stays.
    """
    for name in SOMETIMES:
        stale = folder / name
        if name not in texts and _is_ours(stale):
            stale.unlink()
    paths = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        paths.append(path)
    return paths


def _is_ours(path: Path) -> bool:
    """Whether a file has objects with the label of the endpoint's name alone, as `Deployed.labels` gives it."""
    try:
        found = list(yaml.safe_load_all(path.read_text()))
        return bool(found) and all(NAME_LABEL in each["metadata"]["labels"] for each in found)
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError):  # there is none, or it is of somebody else
        return False


def _of_ray(found: Mapping[str, list[Manifest]]) -> Iterator[Manifest]:
    return (each for manifests in found.values() for each in manifests if each["apiVersion"].startswith("ray.io/"))


def _text(documents: list[Any]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_it_stands(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_it_stands)
