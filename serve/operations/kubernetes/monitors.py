"""What Prometheus' operator and Grafana find by themselves: whom to scrape, alert rules, and dashboards."""

from data.artifacts.json_text import json_text
from serve.operations.kubernetes.deployed import COMPONENT, Deployed, Manifest, manifest
from serve.operations.monitoring.alerts import rules
from serve.operations.monitoring.grafana import dashboards

DASHBOARD = {"grafana_dashboard": "1"}
"""The label by which the sidecar of Grafana's chart finds dashboards."""


def pod_monitor(deployed: Deployed) -> Manifest:
    """Returns the PodMonitor by which Prometheus' operator scrapes Ray of every pod, and HAProxy where it runs."""
    spec = {
        "selector": {"matchLabels": {"app.kubernetes.io/name": deployed.manifests.name}},
        "podTargetLabels": [COMPONENT, "ray.io/group", "ray.io/node-type"],
        "podMetricsEndpoints": [
            {"port": "metrics", "interval": "15s"},
            {"port": "haproxy", "interval": "15s"},
        ],
    }
    return manifest("monitoring.coreos.com/v1", "PodMonitor", deployed.metadata(), spec)


def prometheus_rule(deployed: Deployed) -> Manifest:
    """Returns the PrometheusRule with all alerts."""
    return manifest(
        "monitoring.coreos.com/v1", "PrometheusRule", deployed.metadata(), rules(deployed.manifests.objectives)
    )


def dashboards_to_find(deployed: Deployed) -> list[Manifest]:
    """Returns a ConfigMap for each dashboard."""
    found = []
    for name, board in dashboards().items():
        kept = manifest("v1", "ConfigMap", deployed.metadata(f"-{name}"), None)
        kept["metadata"]["labels"] = {**kept["metadata"]["labels"], **DASHBOARD}
        kept["data"] = {f"{name}.json": json_text(board)}
        found.append(kept)
    return found
