"""A release that a replica cannot load is tried again in its own time, and once more for each promotion of it."""

import asyncio
from collections import Counter

from serve.experiments.assignment import Experiment
from serve.releases.pointer import utc_timestamp, with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from tests.serve.rollout.test_two_phase import registry, replica, replicas

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
