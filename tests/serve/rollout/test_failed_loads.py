"""A release that a replica cannot load is tried again in its own time, and once more for each promotion of it."""

import asyncio
from collections import Counter

from serve.experiments.assignment import Experiment
from serve.releases.pointer import staging, utc_timestamp, with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.rollout.heartbeats import ReplicaRegistry
from tests.serve.rollout.test_two_phase import registry, replica, replicas, rolling_out

__all__ = ["registry"]


async def test_two_releases_that_cannot_be_loaded_are_not_tried_in_turn_without_a_pause(
    registry: ReleaseRegistry,
) -> None:
    tried = Counter[str]()

    async def refuses(release: Release) -> str:
        tried[release.id] += 1
        if release.id != "first":
            raise ReleaseError("golden query off by .1")
        return release.id

    trial = Experiment("trial", {"second": 0.1, "third": 0.1}, utc_timestamp())
    async with replicas(replica(registry, "a", refuses)) as (a,):
        registry.update_pointer(lambda live: with_experiment(live, trial))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        assert await a.live() == "first"
        assert set(a._heartbeat().failed) == {"None:second", "None:third"}
    assert tried == {"first": 1, "second": 1, "third": 1}


async def test_a_promotion_after_a_killed_one_is_not_refused_for_the_reason_of_before(
    registry: ReleaseRegistry,
) -> None:
    """The killed one has left its releases staged, and one of the replicas had no memory for them then."""
    has_memory = False

    async def fits(release: Release) -> str:
        if release.id == "second" and not has_memory:
            raise ReleaseError("no room for the release")
        return release.id

    async with replicas(replica(registry, "a", fits)) as (a,):
        registry.update_pointer(lambda live: staging(live, ["second"], "killed"))  # type: ignore[arg-type]
        heartbeats = ReplicaRegistry.of(registry.folder)
        while not any(each.failed for each in heartbeats.alive(heartbeats.clock())):
            await asyncio.sleep(0.05)
        has_memory = True
        assert (await rolling_out(registry, "second")).live.release == await a.live() == "second"
