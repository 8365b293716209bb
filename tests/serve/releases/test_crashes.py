"""SIGKILL at many points of publish and promote: what is live is whole, and running the command again completes it.

A sample of the points; CRASHES=all tests every one of them (minutes).
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serve.releases.release import Release
from serve.rollout.follower import ReleaseFollower
from serve.rollout.follower_config import FollowerConfig
from tests.serve.releases.crash_world import EVERY, World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"), release.parts, tmp_path_factory.mktemp("scratch"))
    yield world
    world.jobs.end()


def sample(count: int) -> list[int]:
    assert count >= 30, "points of this verb"
    return list(range(1, count + 1, EVERY))


def test_publish_killed_at_any_point(world: World) -> None:
    count = world.publish()["points"]
    for fatal in sample(count):
        world.forget()
        assert world.publish(fatal=fatal)["signal"] == 9
        world.is_whole()
        world.has_no_orphans()
        assert world.publish()["signal"] == 0
        world.is_whole()
        assert len(world.registry.ids()) == 2
        world.has_no_orphans()


def test_publish_killed_at_any_time(world: World) -> None:
    """In the middle of a call too."""
    for after_s in np.linspace(0.05, 1.5, max(30 // EVERY, 3)):
        world.forget()
        world.publish(after_s=float(after_s))
        world.is_whole()
        assert world.publish()["signal"] == 0
        world.is_whole()
        world.has_no_orphans()


async def built(release: Release) -> str:
    return release.id


async def test_promote_killed_at_any_point(world: World) -> None:
    """A replica follows: it answers by what the pointer says, old or new."""
    world.publish()
    (new,) = set(world.registry.ids()) - {world.old}
    config = FollowerConfig(replica="watching", poll_s=0.02, lease_s=0.2, linger_s=0.05)
    replica = await ReleaseFollower(world.registry, built, config).start()

    async def promote(release_id: str, **fault: Any) -> dict[str, Any]:
        return await asyncio.to_thread(world.jobs, verb="promote", release=release_id, **fault)

    async def answers_by(wanted: str) -> None:
        async with asyncio.timeout(5):
            while await replica.live() != wanted:
                await asyncio.sleep(0.02)

    count, seen = (await promote(new))["points"], set()
    for fatal in sample(count):
        await promote(world.old)
        await answers_by(world.old)
        assert (await promote(new, fatal=fatal))["signal"] == 9
        live = world.registry.live()
        assert live is not None
        assert live.release in (world.old, new)
        seen.add(live.release)
        await answers_by(live.release)
        await asyncio.to_thread(world.is_whole)
        assert (await promote(new))["signal"] == 0
        await answers_by(new)
    assert seen == {world.old, new}, "killed before the pointer moved, and after"
    await promote(world.old)
    replica.following.cancel()
    await asyncio.to_thread(world.has_no_orphans)
