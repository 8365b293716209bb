"""What stands around the endpoint: how many pods stay, who may call them, and under which names."""

from serve.operations.kubernetes.deployed import Deployed, Manifest, manifest
from serve.operations.kubernetes.ray_cluster import ENDPOINT, HAPROXY_METRICS_PORT, METRICS_PORT
from serve.operations.nodes import Work

OF_NAMESPACE = "kubernetes.io/metadata.name"
"""Label that Kubernetes gives to each namespace: its name."""


def disruption_budget(deployed: Deployed) -> Manifest:
    """Returns the PodDisruptionBudget of the nodes that serve: drains leave one fewer than their least number, and one.

    KubeRay makes none. A RayCluster has no scale subresource, so the budget is a number, and neither a share nor a
    number of pods that may be missing: it does not follow the nodes that the autoscaler adds.
    """
    fewest = sum(node.min_workers for node in deployed.nodes.of(Work.serve).values())
    selector = {"matchLabels": {**deployed.labels(ENDPOINT), "ray.io/node-type": "worker"}}
    spec = {"minAvailable": max(fewest - 1, 1), "selector": selector}
    return manifest("policy/v1", "PodDisruptionBudget", deployed.metadata(component=ENDPOINT), spec)


def network_policy(deployed: Deployed) -> Manifest:
    """Returns the NetworkPolicy of all pods of Ray.

    They take everything from each other. The endpoint's ports take requests from anywhere, the metrics from the
    namespace of Prometheus, and the head's dashboard from KubeRay alone.
    """
    values = deployed.manifests
    ours = {"podSelector": {"matchLabels": deployed.labels()}}
    rules = [
        {"from": [ours]},
        {"ports": _ports(deployed.serve.port, *([deployed.serve.grpc_port] if deployed.serve.grpc_port else []))},
        {"from": [_namespace(values.monitoring_namespace)], "ports": _ports(METRICS_PORT, HAPROXY_METRICS_PORT)},
        {"from": [_namespace(values.operator_namespace)], "ports": _ports(8265, deployed.serve.port)},
    ]
    spec = {"podSelector": ours["podSelector"], "policyTypes": ["Ingress"], "ingress": rules}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", deployed.metadata(), spec)


def service(deployed: Deployed) -> Manifest:
    """Returns the Service by whose name others call the endpoint, whatever cluster KubeRay has it in."""
    ports = {"http": deployed.serve.port} | ({"grpc": grpc} if (grpc := deployed.serve.grpc_port) else {})
    spec = {
        "type": "ClusterIP",
        "selector": {**deployed.labels(ENDPOINT), "ray.io/serve": "true"},  # KubeRay's label of pods that answer
        "ports": [{"name": name, "port": port, "targetPort": port} for name, port in ports.items()],
    }
    return manifest("v1", "Service", deployed.metadata(component=ENDPOINT), spec)


def gateway(deployed: Deployed) -> list[Manifest]:
    """Returns a Gateway with TLS and its route, if there is a hostname."""
    values = deployed.manifests
    if values.hostname is None:
        return []
    listener = {
        "name": "https",
        "protocol": "HTTPS",
        "port": 443,
        "hostname": values.hostname,
        "tls": {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": values.tls_secret}]},
    }
    gateway = {"gatewayClassName": values.gateway_class, "listeners": [listener]}
    route = {
        "parentRefs": [{"name": values.name}],
        "hostnames": [values.hostname],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                "backendRefs": [{"name": values.name, "port": deployed.serve.port}],
            }
        ],
    }
    metadata = deployed.metadata(component=ENDPOINT)
    return [
        manifest("gateway.networking.k8s.io/v1", "Gateway", metadata, gateway),
        manifest("gateway.networking.k8s.io/v1", "HTTPRoute", metadata, route),
    ]


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {OF_NAMESPACE: name}}}


def _ports(*ports: int) -> list[Manifest]:
    return [{"protocol": "TCP", "port": port} for port in ports]
