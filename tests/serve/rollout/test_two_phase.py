"""Two-phase rollout: all replicas load a release first, then all answer by it; if one refuses, nothing changes."""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from data.artifacts.folders import Folder
from serve.releases.pointer import LivePointer
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.rollout import replica_watch
from serve.rollout.follower import ReleaseFollower
from serve.rollout.follower_config import FollowerConfig
from serve.rollout.heartbeats import HEARTBEAT_TIMEOUT_S, Heartbeat, ReplicaRegistry
from serve.rollout.loading.memory import check_memory
from serve.rollout.replica_watch import ReplicaWatch, expire
from serve.rollout.two_phase import RolloutResult, roll_back, roll_out

NAMES = ("first", "second", "third")


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """Three releases, copies of the real one; the first is live."""
    for name in NAMES:
        shutil.copytree(release.parts.folder.path, tmp_path / "releases" / name)
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    registry.promote("first")
    return registry


async def built(release: Release) -> str:
    assert release.parts.model.config  # the weights are read
    return release.id


def replica(
    registry: ReleaseRegistry, name: str, build: Callable[[Release], Awaitable[str]] = built, **times: float
) -> ReleaseFollower[str]:
    times = {"poll_s": 0.02, "lease_s": 1.0, "linger_s": 0.05} | times
    return ReleaseFollower(registry, build, FollowerConfig(replica=name, **times))


@asynccontextmanager
async def replicas(*of: ReleaseFollower[str]) -> Any:
    """Started, and stopped at the end."""
    started = [await one.start() for one in of]
    yield started
    for one in started:
        one.following.cancel()


def rolling_out(registry: ReleaseRegistry, release_id: str, within_s: float = 20) -> asyncio.Future[RolloutResult]:
    """A promotion from another process, as it were."""
    return asyncio.ensure_future(asyncio.to_thread(roll_out, registry, release_id, within_s, lambda _: None))


async def test_every_replica_answers_by_the_new_release_when_promote_returns(registry: ReleaseRegistry) -> None:
    async with replicas(replica(registry, "a"), replica(registry, "b")) as (a, b):
        assert [await a.live(), await b.live()] == ["first", "first"]
        rollout = await rolling_out(registry, "second")
        assert [await a.live(), await b.live()] == ["second", "second"]
        assert (rollout.replicas, rollout.behind, rollout.live.previous) == (2, [], "first")
        assert registry.live() == rollout.live
        again = await rolling_out(registry, "second")
        assert again.live == rollout.live, "promoting the live release changes nothing"


async def test_a_replica_that_stops_by_itself_is_not_among_the_dead(registry: ReleaseRegistry) -> None:
    all_replicas = ReplicaRegistry.of(registry.folder)
    async with replicas(replica(registry, "stops"), replica(registry, "stays")) as (stops, _):
        await stops.stop()
        await asyncio.sleep(0.1)  # it polls on, and writes no heartbeat
        assert [each.replica for each in all_replicas.alive(all_replicas.clock())] == ["stays"]
        assert ReplicaWatch(all_replicas).look().dead == []


async def test_nobody_moves_before_all_are_ready(registry: ReleaseRegistry) -> None:
    ready = asyncio.Event()

    async def slowly(release: Release) -> str:
        if release.id == "second":
            await ready.wait()
        return release.id

    async with replicas(replica(registry, "quick"), replica(registry, "slow", slowly)) as (quick, slow):
        promotion = rolling_out(registry, "second")
        await asyncio.sleep(1)
        assert [await quick.live(), await slow.live()] == ["first", "first"]
        ready.set()
        await promotion
        assert [await quick.live(), await slow.live()] == ["second", "second"]


async def test_one_replica_that_refuses_stops_it_with_its_reason(registry: ReleaseRegistry) -> None:
    async def refuses(release: Release) -> str:
        if release.id == "second":
            raise ReleaseError("golden query off by .1")
        return release.id

    async with replicas(replica(registry, "a"), replica(registry, "b", refuses)) as (a, b):
        with pytest.raises(ReleaseError, match=r"release second: b on .* refuses it: golden query off by \.1"):
            await rolling_out(registry, "second")
        live = registry.live()
        assert live is not None
        assert (live.release, live.staged) == ("first", [])
        assert [await a.live(), await b.live()] == ["first", "first"]
        assert (await rolling_out(registry, "third")).live.release == "third", "the next one is not held up"


async def test_what_is_not_ready_in_time_does_not_become_live(registry: ReleaseRegistry) -> None:
    async def never(release: Release) -> str:
        await asyncio.sleep(0 if release.id == "first" else 1e6)
        return release.id

    async with replicas(replica(registry, "a", never)) as (a,):
        with pytest.raises(ReleaseError, match=r"not ready after 0\.3 s in a on .*; nothing has changed"):
            await rolling_out(registry, "second", within_s=0.3)
        assert await a.live() == "first"
        live = registry.live()
        assert live is not None
        assert live.staged == []


async def test_a_damaged_release_is_refused_by_the_replicas(registry: ReleaseRegistry) -> None:
    path = Path(registry.path("second").path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])

    async with replicas(replica(registry, "a")) as (a,):
        with pytest.raises(ReleaseError, match=r"a on .* refuses it: .*model\.safetensors: missing or changed"):
            await rolling_out(registry, "second")
        registry.folder.write_json(POINTER, LivePointer("second", "first", "now").as_json())  # pushed past all checks
        await asyncio.sleep(0.5)
        assert await a.live() == "first", "the old release goes on answering"


async def test_a_rollback_finds_the_release_before_in_memory(registry: ReleaseRegistry) -> None:
    made: list[str] = []

    async def noted(release: Release) -> str:
        made.append(release.id)
        return release.id

    async with replicas(replica(registry, "a", noted)) as (a,):
        await rolling_out(registry, "second")
        rollout = await asyncio.to_thread(roll_back, registry, 2)
        assert await a.live() == "first"
        assert (rollout.live.rolled_back, made) == ("second", ["first", "second"])
        await rolling_out(registry, "third")
        assert len(a._built) == 2, "two releases at most are in memory"


async def test_a_replica_that_starts_later_comes_up_on_what_is_live_and_can_go_back(registry: ReleaseRegistry) -> None:
    async with replicas(replica(registry, "a")):
        await rolling_out(registry, "second")
        async with replicas(replica(registry, "late")) as (late,):
            assert await late.live() == "second"
            rollout = await asyncio.to_thread(roll_back, registry, 10)
            assert await late.live() == "first"
            assert rollout.replicas == 2


async def test_a_replica_that_slept_answers_nothing_by_an_old_pointer(registry: ReleaseRegistry) -> None:
    """It does not follow in time, but its lease is over when promote returns."""
    async with replicas(replica(registry, "asleep", poll_s=0.05, lease_s=0.3)) as (asleep,):
        await rolling_out(registry, "second")
        asleep.following.cancel()  # it looks no more
        await asyncio.sleep(0.1)
        rollout = await asyncio.to_thread(roll_back, registry, 2)
        assert len(rollout.behind) == 1
        assert await asleep.live() == "first"


async def test_the_dead_are_not_waited_for(registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_watch, "CONFIRMED_AFTER_S", 1.0)
    heartbeats = ReplicaRegistry.of(registry.folder)
    dead = os.spawnlp(os.P_WAIT, "true", "true") or 2**22 - 3
    heartbeats.write(Heartbeat(replica="dead", pid=dead, current="first", lease_s=60))
    heartbeats.write(Heartbeat(replica="elsewhere", host="gone", current="first", lease_s=60))
    path = Path(heartbeats.folder.path) / "elsewhere.json"
    os.utime(path, times=(time.time(), time.time() - HEARTBEAT_TIMEOUT_S - 1))
    async with replicas(replica(registry, "a")):
        assert (await rolling_out(registry, "second")).replicas == 1
    expire(heartbeats)
    assert [name for name in heartbeats.folder.files() if name.endswith(".json")] == ["a.json"]


async def test_two_who_promote_the_same_share_it(registry: ReleaseRegistry) -> None:
    async with replicas(replica(registry, "a")):
        both = await asyncio.gather(rolling_out(registry, "second"), rolling_out(registry, "second"))
        assert [rollout.live.release for rollout in both] == ["second", "second"]
        assert both[0].live == both[1].live


async def test_of_two_promotions_the_later_wins_and_the_other_is_told(registry: ReleaseRegistry) -> None:
    async def slowly(release: Release) -> str:
        await asyncio.sleep(0.5 if release.id == "second" else 0)
        return release.id

    async with replicas(replica(registry, "a", slowly)) as (a,):
        earlier = rolling_out(registry, "second")
        await asyncio.sleep(0.2)
        later = rolling_out(registry, "third")
        with pytest.raises(ReleaseError, match=r"second: somebody else .* \(live: first, asked for: third\)"):
            await earlier
        assert (await later).live.release == await a.live() == "third"


async def test_a_lost_storage_does_not_stop_the_answers(registry: ReleaseRegistry) -> None:
    async with replicas(replica(registry, "a", lease_s=0.05)) as (a,):
        shutil.rmtree(registry.folder.path)
        await asyncio.sleep(0.3)
        assert await a.live() == "first"


def test_a_release_that_does_not_fit_is_refused() -> None:
    check_memory({"memory_mib": 1.0})
    with pytest.raises(ReleaseError, match=r"no room for the release: it needs 125000000 MiB"):
        check_memory({"memory_mib": 1e8})


@pytest.mark.parametrize("content", ['{"release": "first", "share": 1}', "[]", "{", "null"])
def test_a_damaged_pointer_is_named(registry: ReleaseRegistry, content: str) -> None:
    (Path(registry.folder.path) / POINTER).write_text(content)
    with pytest.raises(ReleaseError, match=r"live\.json: not a live pointer"):
        registry.live()
