"""A storage that hangs, answers slowly, or is gone: requests wait a bounded time, are answered, and it is said."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.releases.pointer import LivePointer
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.rollout.bounded_reading import BoundedReading
from serve.rollout.follower import ReleaseFollower
from tests.serve.rollout.test_two_phase import NAMES, registry, replica, replicas

__all__ = ["registry"]

LEASE_S, WAIT_S = 0.3, 0.1


class HangingStorage:
    """Reads of the live pointer wait while the storage hangs."""

    def __init__(self, read: Callable[[ReleaseRegistry], LivePointer | None]) -> None:
        self._read = read
        self._answers = threading.Event()
        self._answers.set()
        self.num_reads = 0

    def hang(self) -> None:
        self._answers.clear()

    def recover(self) -> None:
        self._answers.set()

    def read(self, registry: ReleaseRegistry) -> LivePointer | None:
        self.num_reads += 1
        self._answers.wait()
        return self._read(registry)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingStorage]:
    storage = HangingStorage(ReleaseRegistry.live)
    monkeypatch.setattr(ReleaseRegistry, "live", lambda registry: storage.read(registry))
    yield storage
    storage.recover()


async def live_within_a_minute(follower: ReleaseFollower[str], wait_s: float | None) -> str:
    """The live release; raises TimeoutError where the storage that hangs is waited for without an end."""
    return await asyncio.wait_for(follower.live(wait_s), 60)


def is_reading(task: "asyncio.Task[None]") -> bool:
    """Whether a task reads the pointer."""
    return getattr(task.get_coro(), "__qualname__", "") == BoundedReading.read.__qualname__


async def fresh(follower: ReleaseFollower[str]) -> None:
    ends = time.monotonic() + 10
    while follower.is_stale:
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)


async def test_a_storage_that_hangs_is_waited_for_once(registry: ReleaseRegistry, storage: HangingStorage) -> None:
    async with replicas(replica(registry, "a", lease_s=LEASE_S)) as (a,):
        assert (await a.live(WAIT_S), a.is_stale) == (NAMES[0], False)
        storage.hang()
        await asyncio.sleep(2 * LEASE_S)
        answers = await asyncio.gather(*(live_within_a_minute(a, WAIT_S) for _ in range(50)))
        assert set(answers) == {NAMES[0]}
        assert a.is_stale
        reads = storage.num_reads
        without_bound = [await live_within_a_minute(a, None) for _ in range(20)]
        assert without_bound == [NAMES[0]] * 20, "it is not waited for again"
        assert storage.num_reads == reads, "nor asked again"
        storage.recover()
        await fresh(a)
        assert a.following.is_running


async def test_what_changed_while_it_hung_is_followed_afterwards(
    registry: ReleaseRegistry, storage: HangingStorage
) -> None:
    async with replicas(replica(registry, "a", lease_s=LEASE_S)) as (a,):
        storage.hang()
        await asyncio.sleep(2 * LEASE_S)
        await a.live(WAIT_S)
        registry.folder.write_json(POINTER, LivePointer(NAMES[1], NAMES[0], "now").as_json())
        storage.recover()
        ends = time.monotonic() + 20
        while await a.live(WAIT_S) != NAMES[1]:
            assert time.monotonic() < ends
            await asyncio.sleep(0.05)


async def test_a_storage_slower_than_the_lease_keeps_nobody_waiting(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ReleaseRegistry.live

    def slowly(self: ReleaseRegistry) -> LivePointer | None:
        time.sleep(2 * LEASE_S)
        return read(self)

    async with replicas(replica(registry, "a", lease_s=LEASE_S)) as (a,):
        monkeypatch.setattr(ReleaseRegistry, "live", slowly)
        await asyncio.sleep(2 * LEASE_S)
        with monkeypatch.context() as watched:
            waited_for: list[asyncio.Task[None]] = []
            wait = asyncio.wait

            async def noted(tasks: set[asyncio.Task[None]], timeout: float | None = None) -> Any:
                waited_for.extend(task for task in tasks if is_reading(task))
                return await wait(tasks, timeout=timeout)

            watched.setattr("serve.rollout.bounded_reading.asyncio.wait", noted)
            for _ in range(20):
                await a.live(WAIT_S)
        assert waited_for
        assert len(waited_for) == len(set(waited_for)), "each reading is waited for once"
        assert a.following.is_running


async def test_a_pointer_that_is_gone_makes_stale_and_not_dead(registry: ReleaseRegistry) -> None:
    async with replicas(replica(registry, "a", lease_s=LEASE_S)) as (a,):
        pointer = Path(registry.folder.path) / POINTER
        kept = pointer.read_bytes()
        pointer.unlink()
        await asyncio.sleep(2 * LEASE_S)
        assert (await a.live(WAIT_S), a.is_stale, a.following.is_running) == (NAMES[0], True, True)
        pointer.write_bytes(kept)
        await fresh(a)
        assert await a.live(WAIT_S) == NAMES[0]


async def test_the_task_that_follows_survives_any_error(
    registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(replica(registry, "a", lease_s=LEASE_S)) as (a,):
        with monkeypatch.context() as broken:
            broken.setattr(ReleaseRegistry, "live", lambda self: 1 / 0)
            await asyncio.sleep(2 * LEASE_S)
            assert (a.is_stale, a.following.is_running) == (True, True)
        await fresh(a)
