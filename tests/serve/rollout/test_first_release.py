"""Replicas that are started before any release is live wait for the first one, and say so."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from data.cluster.failure_log import replica_logger
from data.cluster.ray_compatibility.serve_addresses import LOOPBACK
from serve.deployment import deployments
from serve.deployment.deployments import StageReplica
from serve.deployment.stages.remote import RERANKER
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import ReplicaRegistry
from serve.rollout.loading import first_release
from tests.serve.deployment.answers.test_background import INGRESS, settings_of, until
from tests.serve.rollout.test_two_phase import registry, replica, rolling_out

__all__ = ["registry"]


@pytest.fixture(autouse=True)
def without_a_release(registry: ReleaseRegistry) -> None:
    (Path(registry.folder.path) / POINTER).unlink()


async def test_a_replica_waits_and_answers_with_the_first_release(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    log = replica_logger("follower")
    monkeypatch.setattr(log, "error", lambda text, *values, exc_info: said.append(text % values))
    monkeypatch.setattr(first_release, "HEARTBEAT_INTERVAL_S", 0.05)
    starting = asyncio.create_task(replica(registry, "a").start())
    await asyncio.sleep(0.3)
    assert len(said) == 1, "once a minute"
    assert "no release is live: run python -m serve.promote" in said[0]
    heartbeats = ReplicaRegistry.of(registry.folder)
    heartbeats.remove("a")
    await until(lambda: bool(heartbeats.alive(heartbeats.clock())))  # it tells again and again that it is there
    rollout = await rolling_out(registry, "second")
    started = await starting
    started.following.cancel()
    assert (await started.live(), rollout.replicas, rollout.behind) == ("second", 1, []), "the promotion has waited"


async def test_a_damaged_pointer_is_not_waited_for(registry: ReleaseRegistry) -> None:
    (Path(registry.folder.path) / POINTER).write_text("{")
    with pytest.raises(ReleaseError, match=r"live\.json: not a live pointer"):
        await replica(registry, "a").start()


@pytest.mark.parametrize(("deployment", "stage"), [(INGRESS, ()), (StageReplica, (RERANKER,))])
async def test_one_that_stops_meanwhile_leaves_no_heartbeat(
    deployment: Any, stage: tuple[str, ...], tiny: Config, registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first promotion would wait for it. There are no answers to record."""
    monkeypatch.setattr("serve.access.exposure.endpoint_host", lambda: LOOPBACK)  # Ray Serve does not run
    monkeypatch.setattr(deployments, "replica_name", lambda: "replica")
    monkeypatch.setitem(INGRESS.__init__.__globals__, "replica_name", lambda: "replica")
    heartbeat = Path(registry.folder.path, ".replicas", "replica.json")
    waiting = object.__new__(type("Waiting", (deployment,), {"__del__": lambda self: None}))
    starting = asyncio.create_task(deployment.__init__(waiting, settings_of(tiny, registry), *stage))
    await until(heartbeat.exists)
    await deployment.__del__(waiting)
    assert not heartbeat.exists()
    assert not starting.done()
    starting.cancel()
