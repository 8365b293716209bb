"""A Ray cluster as KubeRay describes it: a head without CPUs, and a group of workers for each node type."""

from collections.abc import Mapping
from typing import Any

from data.cluster.ray_compatibility.haproxy_template import METRICS_HOST
from data.cluster.ray_compatibility.serve import IN_FLIGHT
from serve.events.config import EVENTS_PASSWORD, REDIS
from serve.operations.cluster_yaml import ENVIRONMENT
from serve.operations.kubernetes.deployed import Deployed, Manifest
from serve.operations.nodes import INSTALLED_RAY, NodeType

METRICS_PORT, HAPROXY_METRICS_PORT = 8080, 9101
"""Ports of Ray's own metrics, and of HAProxy's."""

ENDPOINT, TRAINING = "endpoint", "training"
"""The components: what serves, and what trains."""

KUBELET_SHARE = 0.9
"""The share of a machine that its pod asks for: Kubernetes keeps some for itself."""

AUTOSCALER_MILLICPUS, AUTOSCALER_MIB = 500, 512
"""What the autoscaler may have, which KubeRay adds to the pod of the head: its own values. They are stated, as the head
may have what they leave of its machine.
"""

GROUP = 1000  # the user `ray` of Ray's images

SECURITY = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": GROUP,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def cluster_spec(deployed: Deployed, groups: Mapping[str, NodeType], component: str) -> Manifest:
    """Returns the spec of a RayCluster.

    Args:
        groups: the node types of its workers, by name.
        component: what the pods are part of, ENDPOINT or TRAINING.
    """
    return {
        "rayVersion": INSTALLED_RAY,
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": deployed.nodes.idle_timeout_s,
            "resources": _asked(AUTOSCALER_MILLICPUS, AUTOSCALER_MIB),
        },
        "authOptions": {"mode": "token", "secretName": deployed.manifests.ray_token_secret},
        "headGroupSpec": _head(deployed, component),
        "workerGroupSpecs": [_group(deployed, name, node, component) for name, node in groups.items()],
    }


def gcs_fault_tolerance(deployed: Deployed) -> Manifest:
    """Returns the part of a RayCluster by which the endpoint outlives its head; nothing without a Redis."""
    if deployed.manifests.redis_address is None:
        return {}
    password = {"valueFrom": {"secretKeyRef": {"name": deployed.manifests.redis_secret, "key": "password"}}}
    return {"gcsFaultToleranceOptions": {"redisAddress": deployed.manifests.redis_address, "redisPassword": password}}


def _password_of_events(deployed: Deployed, component: str) -> list[Manifest]:
    """The variable with which compaction, on the head, reads the Redis of events: KubeRay sets REDIS_PASSWORD there to
    that of the Redis above. The head does not start while the Secret lacks the key, which may be empty.
    """
    values = deployed.manifests
    if component != ENDPOINT or deployed.events.store != REDIS or values.redis_address is None:
        return []
    return [{"name": EVENTS_PASSWORD, "valueFrom": {"secretKeyRef": {"name": values.secret, "key": EVENTS_PASSWORD}}}]


def _head(deployed: Deployed, component: str) -> Manifest:
    head = deployed.nodes.head
    millicpus, mib = _share(head.cpus, head.memory_gib)
    resources = _asked(millicpus - AUTOSCALER_MILLICPUS, mib - AUTOSCALER_MIB)
    ports = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, **_served(deployed, component)}
    template = _pod(deployed, "ray-head", f"{component}-head", resources, ports)
    template["spec"]["containers"][0]["env"] += _password_of_events(deployed, component)
    return {
        "rayStartParams": {"dashboard-host": "0.0.0.0"},  # the operator calls it; the NetworkPolicy lets no one else
        "resources": {"CPU": "0"},
        "labels": {"role": "head"},
        "template": template,
    }


def _group(deployed: Deployed, name: str, node: NodeType, component: str) -> Manifest:
    resources = _asked(*_share(node.cpus, node.memory_gib), node.gpus)
    return {
        "groupName": name,
        "replicas": node.min_workers,
        "minReplicas": node.min_workers,
        "maxReplicas": node.max_workers,
        "rayStartParams": {},
        "resources": {"CPU": str(node.cpus)} | ({"GPU": str(node.gpus)} if node.gpus else {}),
        "labels": {"role": name},
        "template": _pod(
            deployed, "ray-worker", component, resources, _served(deployed, component), gpu=bool(node.gpus)
        ),
    }


def _served(deployed: Deployed, component: str) -> dict[str, int]:
    """The ports on which pods of the endpoint answer requests, and that of HAProxy's metrics; others run no HAProxy."""
    if component != ENDPOINT:
        return {}
    served = {"serve": deployed.serve.port, "haproxy": HAPROXY_METRICS_PORT}
    return served | ({"grpc": grpc} if (grpc := deployed.serve.grpc_port) else {})


def _pod(
    deployed: Deployed, container: str, component: str, resources: Manifest, ports: Mapping[str, int], gpu: bool = False
) -> Manifest:
    values = deployed.manifests
    variables = {**ENVIRONMENT, IN_FLIGHT: str(deployed.serve.ingress.in_flight), METRICS_HOST: "0.0.0.0"}
    runs: Manifest = {
        "name": container,
        "image": values.image_gpu if gpu else values.image,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "envFrom": [{"secretRef": {"name": values.secret, "optional": True}}],
        "ports": [{"name": name, "containerPort": port} for name, port in {**ports, "metrics": METRICS_PORT}.items()],
        "resources": resources,
        "securityContext": SECURITY,
    }
    spec: Manifest = {"containers": [runs], "securityContext": {"fsGroup": GROUP}, "terminationGracePeriodSeconds": 60}
    if values.storage_claim is not None:
        runs["volumeMounts"] = [{"name": "storage", "mountPath": deployed.storage.root}]
        spec["volumes"] = [{"name": "storage", "persistentVolumeClaim": {"claimName": values.storage_claim}}]
    if gpu:
        spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return {"metadata": {"labels": deployed.labels(component)}, "spec": spec}


def _share(cpus: int, memory_gib: float) -> tuple[int, int]:
    """The thousandths of CPUs, and the MiB, of a machine that its pod asks for."""
    return int(cpus * KUBELET_SHARE * 1000), int(memory_gib * KUBELET_SHARE * 1024)


def _asked(millicpus: int, mib: int, gpus: int = 0) -> Manifest:
    requests: dict[str, Any] = {"cpu": f"{millicpus}m", "memory": f"{mib}Mi"}
    limits: dict[str, Any] = {"memory": f"{mib}Mi"}
    if gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = gpus
    return {"requests": requests, "limits": limits}
