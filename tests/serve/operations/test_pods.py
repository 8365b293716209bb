"""The pods of Ray: what they are given, what they ask of their machines, and what they answer."""

from collections.abc import Callable
from typing import Any

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
