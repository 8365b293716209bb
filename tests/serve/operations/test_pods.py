"""The pods of Ray: what they are given, what they ask of their machines, and what they answer."""

from collections.abc import Callable
from typing import Any

import pytest

from serve.operations.kubernetes.deployed import Deployed
from tests.serve.operations.test_manifests import one

Deploy = Callable[..., Deployed]


def head_of(deployed: Deployed, kind: str = "RayService", of: str = "rayClusterConfig") -> dict[str, Any]:
    """The container of the head."""
    head: dict[str, Any] = one(deployed, kind)["spec"][of]["headGroupSpec"]["template"]["spec"]["containers"][0]
    return head


def test_the_head_is_told_the_password_of_the_redis_of_events(deploy: Deploy) -> None:
    """KubeRay adds REDIS_PASSWORD to its variables, with the password of `manifests.redis_address`."""
    events = ("events=redis", "events.uri=redis://events:6379/0")
    key = {"name": "EVENTS_REDIS_PASSWORD", "key": "EVENTS_REDIS_PASSWORD"}
    wanted = {"name": key["name"], "valueFrom": {"secretKeyRef": {**key, "name": "twotower"}}}
    assert wanted in head_of(deploy(*events))["env"]
    for without in ((), ("manifests.redis_address=null", *events)):
        assert wanted not in head_of(deploy(*without))["env"], "the head has no other Redis"
    assert wanted not in head_of(deploy(*events), "RayJob", "rayClusterSpec")["env"], "a training reads no Redis"


@pytest.mark.parametrize(("kind", "of"), [("RayService", "rayClusterConfig"), ("RayJob", "rayClusterSpec")])
@pytest.mark.parametrize(("cpus", "memory_gib"), [(4, 16), (1, 1)])
def test_the_head_fits_on_its_machine_with_the_autoscaler_beside_it(
    deploy: Deploy, kind: str, of: str, cpus: int, memory_gib: int
) -> None:
    """KubeRay adds the autoscaler to the head's pod, with half a CPU unless it is told otherwise."""
    deployed = deploy(f"nodes.head.cpus={cpus}", f"nodes.head.memory_gib={memory_gib}")
    beside = one(deployed, kind)["spec"][of]["autoscalerOptions"]["resources"]["requests"]
    asked = [head_of(deployed, kind, of)["resources"]["requests"], beside]
    millicpus, mib = ([int(each[name].rstrip("mMi")) for each in asked] for name in ("cpu", "memory"))
    assert min(millicpus + mib) > 0
    assert sum(millicpus) <= 900 * cpus
    assert sum(mib) <= 0.9 * 1024 * memory_gib


def test_haproxy_is_scraped_where_it_runs(deploy: Deploy) -> None:
    """A port by which nothing listens is a target that is down, for as long as a training takes."""
    monitored = {endpoint["port"] for endpoint in one(deploy(), "PodMonitor")["spec"]["podMetricsEndpoints"]}
    assert monitored == {"metrics", "haproxy"}
    for kind, of, scraped in (("RayService", "rayClusterConfig", monitored), ("RayJob", "rayClusterSpec", {"metrics"})):
        cluster = one(deploy(), kind)["spec"][of]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            (container,) = group["template"]["spec"]["containers"]
            assert {port["name"] for port in container["ports"]} & monitored == scraped
