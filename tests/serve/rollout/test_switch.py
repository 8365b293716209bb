"""The change of release under traffic: ready everywhere first, then at once; where one refuses, nothing changes."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from data.artifacts.folders import Folder
from serve.releases.pointer import Live
from serve.releases.registry import POINTER, Registry
from serve.releases.release import Release, ReleaseError
from serve.rollout.follower import Following, LiveReleases
from serve.rollout.heartbeats import LAPSE_S, Fleet, Note
from serve.rollout.memory import check_room
from serve.rollout.switch import Switched, back, switch

NAMES = ("first", "second", "third")


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> Registry:
    """Three releases, copies of the real one; the first is live."""
    for name in NAMES:
        shutil.copytree(release.parts.folder.path, tmp_path / "releases" / name)
    registry = Registry.of(Folder.of(str(tmp_path)))
    registry.promote("first")
    return registry


async def built(release: Release) -> str:
    return release.id


def replica(
    registry: Registry, name: str, build: Callable[[Release], Awaitable[str]] = built, **times: float
) -> LiveReleases[str]:
    following = {"poll_s": 0.02, "lease_s": 1.0, "linger_s": 0.05} | times
    return LiveReleases(registry, build, Following(replica=name, **following))


@asynccontextmanager
async def replicas(*of: LiveReleases[str]) -> Any:
    """Started, and stopped at the end."""
    started = [await one.start() for one in of]
    yield started
    for one in started:
        one._task.cancel()


def switching(registry: Registry, release_id: str, within_s: float = 20) -> asyncio.Future[Switched]:
    """A promotion from another process, as it were."""
    return asyncio.ensure_future(asyncio.to_thread(switch, registry, release_id, within_s, lambda _: None))


async def test_every_replica_answers_by_the_new_release_when_promote_returns(registry: Registry) -> None:
    async with replicas(replica(registry, "a"), replica(registry, "b")) as (a, b):
        assert [await a.now(), await b.now()] == ["first", "first"]
        switched = await switching(registry, "second")
        assert [await a.now(), await b.now()] == ["second", "second"]
        assert (switched.replicas, switched.behind, switched.live.previous) == (2, [], "first")
        assert registry.live() == switched.live
        again = await switching(registry, "second")
        assert again.live == switched.live, "promoting the live release changes nothing"


async def test_nobody_moves_before_all_are_ready(registry: Registry) -> None:
    ready = asyncio.Event()

    async def slowly(release: Release) -> str:
        if release.id == "second":
            await ready.wait()
        return release.id

    async with replicas(replica(registry, "quick"), replica(registry, "slow", slowly)) as (quick, slow):
        promotion = switching(registry, "second")
        await asyncio.sleep(1)
        assert [await quick.now(), await slow.now()] == ["first", "first"]
        ready.set()
        await promotion
        assert [await quick.now(), await slow.now()] == ["second", "second"]


async def test_one_replica_that_refuses_stops_it_with_its_reason(registry: Registry) -> None:
    async def refuses(release: Release) -> str:
        if release.id == "second":
            raise ReleaseError("golden query off by .1")
        return release.id

    async with replicas(replica(registry, "a"), replica(registry, "b", refuses)) as (a, b):
        with pytest.raises(ReleaseError, match=r"release second: b on .* refuses it: golden query off by \.1"):
            await switching(registry, "second")
        live = registry.live()
        assert live is not None
        assert (live.release, live.candidates) == ("first", [])
        assert [await a.now(), await b.now()] == ["first", "first"]
        assert (await switching(registry, "third")).live.release == "third", "the next one is not held up"


async def test_what_is_not_ready_in_time_does_not_become_live(registry: Registry) -> None:
    async def never(release: Release) -> str:
        await asyncio.sleep(0 if release.id == "first" else 1e6)
        return release.id

    async with replicas(replica(registry, "a", never)) as (a,):
        with pytest.raises(ReleaseError, match=r"not ready after 0\.3 s in a on .*; nothing has changed"):
            await switching(registry, "second", within_s=0.3)
        assert await a.now() == "first"
        live = registry.live()
        assert live is not None
        assert live.candidates == []


async def test_a_damaged_release_is_refused_by_the_replicas(registry: Registry) -> None:
    path = Path(registry.path("second").path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    async with replicas(replica(registry, "a")) as (a,):
        with pytest.raises(ReleaseError, match=r"a on .* refuses it: .*model\.safetensors: missing or changed"):
            await switching(registry, "second")
        registry.folder.write_json(POINTER, asdict(Live("second", "first", "now")))  # pushed past all checks
        await asyncio.sleep(0.5)
        assert await a.now() == "first", "the old release goes on answering"


async def test_a_rollback_finds_the_release_before_in_memory(registry: Registry) -> None:
    made: list[str] = []

    async def noted(release: Release) -> str:
        made.append(release.id)
        return release.id

    async with replicas(replica(registry, "a", noted)) as (a,):
        await switching(registry, "second")
        switched = await asyncio.to_thread(back, registry, 2)
        assert await a.now() == "first"
        assert (switched.live.rolled_back, made) == ("second", ["first", "second"])
        await switching(registry, "third")
        assert len(a._built) == 2, "two releases at most are in memory"


async def test_a_replica_that_starts_later_comes_up_on_what_is_live_and_can_go_back(registry: Registry) -> None:
    async with replicas(replica(registry, "a")):
        await switching(registry, "second")
        async with replicas(replica(registry, "late")) as (late,):
            assert await late.now() == "second"
            switched = await asyncio.to_thread(back, registry, 10)
            assert await late.now() == "first"
            assert switched.replicas == 2


async def test_a_replica_that_slept_answers_nothing_by_an_old_pointer(registry: Registry) -> None:
    """It does not follow in time, but its lease is over when promote returns."""
    async with replicas(replica(registry, "asleep", poll_s=0.05, lease_s=0.3)) as (asleep,):
        await switching(registry, "second")
        asleep._task.cancel()  # it looks no more
        await asyncio.sleep(0.1)
        switched = await asyncio.to_thread(back, registry, 2)
        assert len(switched.behind) == 1
        assert await asleep.now() == "first"


async def test_the_dead_are_not_waited_for(registry: Registry) -> None:
    fleet = Fleet.of(registry.folder)
    dead = os.spawnlp(os.P_WAIT, "true", "true") or 2**22 - 3
    fleet.write(Note(replica="dead", pid=dead, current="first", lease_s=60))
    fleet.write(Note(replica="elsewhere", host="gone", current="first", lease_s=60))
    path = Path(fleet.folder.path) / "elsewhere.json"
    os.utime(path, times=(time.time(), time.time() - LAPSE_S - 1))
    async with replicas(replica(registry, "a")):
        assert (await switching(registry, "second")).replicas == 1
    fleet.bury()
    assert [name for name in fleet.folder.files() if name.endswith(".json")] == ["a.json"]


async def test_two_who_promote_the_same_share_it(registry: Registry) -> None:
    async with replicas(replica(registry, "a")):
        both = await asyncio.gather(switching(registry, "second"), switching(registry, "second"))
        assert [switched.live.release for switched in both] == ["second", "second"]
        assert both[0].live == both[1].live


async def test_of_two_who_promote_different_ones_the_later_wins_and_the_other_is_told(registry: Registry) -> None:
    async def slowly(release: Release) -> str:
        await asyncio.sleep(0.5 if release.id == "second" else 0)
        return release.id

    async with replicas(replica(registry, "a", slowly)) as (a,):
        earlier = switching(registry, "second")
        await asyncio.sleep(0.2)
        later = switching(registry, "third")
        with pytest.raises(ReleaseError, match=r"second: somebody else .* \(live: first, asked for: third\)"):
            await earlier
        assert (await later).live.release == await a.now() == "third"


async def test_a_lost_storage_does_not_stop_the_answers(registry: Registry) -> None:
    async with replicas(replica(registry, "a", lease_s=0.05)) as (a,):
        shutil.rmtree(registry.folder.path)
        await asyncio.sleep(0.3)
        assert await a.now() == "first"


async def test_a_replica_without_a_live_release_says_so(registry: Registry) -> None:
    (Path(registry.folder.path) / POINTER).unlink()
    with pytest.raises(ReleaseError, match=r"no release is live: run python -m serve\.promote"):
        await replica(registry, "a").start()


def test_a_release_that_does_not_fit_is_refused() -> None:
    check_room({"memory_mib": 1.0})
    with pytest.raises(ReleaseError, match=r"no room for the release: it needs 125000000 MiB"):
        check_room({"memory_mib": 1e8})


def test_a_damaged_pointer_is_named(registry: Registry) -> None:
    (Path(registry.folder.path) / POINTER).write_text(json.dumps({"release": "first", "share": 1}))
    with pytest.raises(ReleaseError, match=r"live\.json: not a live pointer"):
        registry.live()
