"""KubeRay's own rules, which no schema of its resources holds. Read in its version 1.7."""

from collections.abc import Iterator, Mapping
from typing import Any

TOKEN_SINCE = (2, 52)
"""The first version of Ray whose clients may need a token."""


def broken_rules(manifest: Mapping[str, Any]) -> list[str]:
    """Returns what KubeRay would refuse, or would do other than meant, in a RayService, RayJob or RayCluster."""
    spec = manifest["spec"]
    cluster = spec.get("rayClusterConfig") or spec.get("rayClusterSpec") or spec
    found = [*_of_cluster(cluster)]
    if manifest["kind"] == "RayService":
        found += _of_upgrade(spec, cluster)
    if manifest["kind"] == "RayJob" and spec.get("submissionMode", "K8sJobMode") != "HTTPMode":
        found.append("KubeRay gives its submitter pod no labels, and the NetworkPolicy does not admit it; use HTTPMode")
    return found


def _of_upgrade(spec: Mapping[str, Any], cluster: Mapping[str, Any]) -> Iterator[str]:
    upgrade = spec.get("upgradeStrategy", {})
    if upgrade.get("type") != "NewClusterWithIncrementalUpgrade":
        return
    options = upgrade.get("clusterUpgradeOptions", {})
    if not options.get("gatewayClassName"):
        yield "an incremental upgrade needs a gatewayClassName"
    if options.get("stepSizePercent", 100) > options.get("maxSurgePercent", 100):
        yield "stepSizePercent must be at most maxSurgePercent"
    if not cluster.get("enableInTreeAutoscaling"):
        yield "an incremental upgrade needs enableInTreeAutoscaling"


def _of_cluster(cluster: Mapping[str, Any]) -> Iterator[str]:
    version = tuple(int(part) for part in cluster["rayVersion"].split(".")[:2])
    if cluster.get("authOptions", {}).get("mode") == "token" and version < TOKEN_SINCE:
        yield f"token authentication needs Ray {TOKEN_SINCE[0]}.{TOKEN_SINCE[1]}, not {cluster['rayVersion']}"
    groups = cluster.get("workerGroupSpecs", [])
    names = [group["groupName"] for group in groups]
    if len(set(names)) < len(names):
        yield f"groups have the same name: {names}"
    scales_by_v2 = cluster.get("autoscalerOptions", {}).get("version") == "v2"
    for name, group in [("head", cluster["headGroupSpec"]), *zip(names, groups, strict=True)]:
        start = group.get("rayStartParams", {})
        if "labels" in start:
            yield f"{name}: labels stand in the group, not in rayStartParams"
        if {"num-cpus", "num-gpus", "memory", "resources"} & set(start) and group.get("resources"):
            yield f"{name}: resources stand in the group or in rayStartParams, not in both"
        restarts = group["template"]["spec"].get("restartPolicy", "Never")
        if scales_by_v2 and restarts != "Never":
            yield f"{name}: autoscaler v2 needs the restartPolicy Never, not {restarts}"
        if group.get("minReplicas", 0) > group.get("maxReplicas", group.get("minReplicas", 0)):
            yield f"{name}: minReplicas must be at most maxReplicas"
        if group.get("replicas", 0) < group.get("minReplicas", 0):
            yield f"{name}: replicas must be at least minReplicas"
