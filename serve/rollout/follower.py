"""The follower: keeps the releases that the live pointer names loaded in a replica, and says which one answers.

A replica polls the live pointer. It loads the releases that the pointer names while the present release goes on
answering, and reports in its heartbeat (serve/rollout/heartbeats.py) what it holds. It answers with the live
release as soon as that is loaded.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from data.cluster.background import PeriodicTask
from data.cluster.failure_log import FailureLog
from data.cluster.machine import give_back_memory
from serve.experiments.assignment import CONTROL, Assignment, Experiment
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from serve.rollout.bounded_reading import BoundedReading
from serve.rollout.follower_config import FollowerConfig
from serve.rollout.heartbeats import HEARTBEAT_INTERVAL_S, Heartbeat, ReplicaRegistry
from serve.rollout.loading.failed_loads import FailedLoads
from serve.rollout.loading.first_release import wait_for_first
from serve.rollout.loading.memory import check_memory, used_mib

T = TypeVar("T")
log_failure = FailureLog("follower")


class ReleaseFollower(Generic[T]):
    """Follows the live pointer and keeps what `build` returns, a `T`, for each release that the pointer names.

    All methods run on one event loop. Once `start` has returned, the task `following` follows the pointer.
    """

    def __init__(
        self,
        registry: ReleaseRegistry,
        build: Callable[[Release], Awaitable[T]],
        config: FollowerConfig,
        set_denylist: Callable[[T, frozenset[str]], None] = lambda built, item_ids: None,
        close: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        """Prepares to follow; `start` begins.

        Args:
            registry: the releases and the pointer.
            build: loads a release.
            config: how the pointer is followed.
            set_denylist: makes a loaded release leave out items, by their ids, from then on.
            close: called with what `build` made of a release that is not needed any more.
        """
        self._registry = registry
        self._build = build
        self._config = config
        self._set_denylist = set_denylist
        self._close = close
        self._replicas = ReplicaRegistry.of(registry.folder)
        self._denylist: tuple[str | None, frozenset[str]] = (None, frozenset())
        self._built: dict[str, T] = {}
        self._memory_mib: dict[str, float] = {}
        self._failed = FailedLoads()
        self._build_lock = asyncio.Lock()
        self._heartbeat_lock, self._is_stopped = asyncio.Lock(), False
        self._loading: asyncio.Task[None] | None = None
        self._reading = BoundedReading(self._read_and_apply, config.lease_s, config.poll_s)
        self._reported_at, self._in_use_until = -math.inf, 0.0
        self._reported: Heartbeat | None = None
        self._experiment: Experiment | None = None
        self.current: str | None = None  # id of the release that answers; None before `start` has returned

    async def start(self) -> "ReleaseFollower[T]":
        """Loads the live release, once there is one, then follows the pointer in the background.

        Raises:
            ReleaseError: the live release does not fit into memory, or does not reproduce its golden queries.
        """
        await self._send_heartbeat()  # before the pointer is read: a rollout that begins later waits for this replica
        await wait_for_first(self._registry, self._config.poll_s, self._send_heartbeat)
        await self._apply_denylist((await self._read_pointer()).denylist)
        while (live := await self._read_pointer()).release != self.current:
            await self.get(live.release)
            self.current = live.release
        for release_id in live.others:
            await self._load(release_id, live)
        await self._refresh()
        said = "the live pointer is not followed"
        self.following = PeriodicTask("live pointer", self._refresh, self._config.poll_s, log_failure, said)
        return self

    async def stop(self) -> None:
        """Removes the heartbeat, by which the guard tells a replica that stops by itself from one that has died."""
        self._is_stopped = True
        async with self._heartbeat_lock:
            await asyncio.to_thread(self._replicas.remove, self._config.replica)

    @property
    def is_stale(self) -> bool:
        """Whether the last reading of the pointer that succeeded began longer ago than the lease."""
        return self._reading.is_stale

    @property
    def pointer_age_s(self) -> float:
        """Seconds since the last reading of the pointer that succeeded began; infinite before there is one."""
        return self._reading.age_s

    @property
    def loaded(self) -> T:
        """What `build` made for the release that answers by the last reading of the pointer."""
        assert self.current is not None, "a replica is not ready before it holds a release"
        return self._built[self.current]

    async def live(self, wait_s: float | None = None) -> T:
        """Returns what `build` made for the live release.

        Where the last reading of the pointer is stale, the pointer is read again first. If that fails, or takes longer
        than `wait_s` seconds, the last reading counts, and `is_stale` says so. (None waits as long as it takes.)
        """
        if self.is_stale:
            await self._reading.wait(wait_s, f"staying on release {self.current}")
        return self.loaded

    async def choose(self, unit: str, wait_s: float | None = None) -> tuple[T, Assignment | None]:
        """Returns what `build` made for the release that answers a unit, and its variant, if an experiment runs.

        Args:
            unit: a user id; for a request without a user, the request's id.
            wait_s: as for `live`.
        """
        live = await self.live(wait_s)
        if self._experiment is None:
            return live, None
        variant = self._experiment.assign(unit)
        if variant not in self._built:  # control, or a release that this replica could not load
            return live, Assignment(self._experiment, CONTROL)
        return self._built[variant], Assignment(self._experiment, variant)

    async def get(self, release_id: str) -> T:
        """Returns what `build` made for a release, which is loaded first if this replica does not hold it."""
        if release_id not in self._built:
            async with self._build_lock:
                if release_id not in self._built:
                    before_mib = used_mib()
                    release = await asyncio.to_thread(self._open, release_id)
                    built = await self._build(release)
                    del release  # of its parts, those that the build has kept remain
                    await asyncio.to_thread(give_back_memory)
                    self._set_denylist(built, self._denylist[1])
                    self._built[release_id] = built
                    self._memory_mib[release_id] = round(max(used_mib() - before_mib, 0.0), 1)
        return self._built[release_id]

    def _open(self, release_id: str) -> Release:
        check_memory(self._registry.manifest(release_id))
        return self._registry.open_served(release_id)

    async def _refresh(self) -> None:
        """Reads the pointer and applies it, and reports what has changed."""
        await self._reading.read(f"staying on release {self.current}")
        is_due = time.monotonic() - self._reported_at > HEARTBEAT_INTERVAL_S
        if self._heartbeat() != self._reported or is_due:
            await self._send_heartbeat()

    async def _read_and_apply(self) -> None:
        live = await self._read_pointer()
        await self._apply_denylist(live.denylist)
        self._apply(live)

    async def _read_pointer(self) -> LivePointer:
        live = await asyncio.to_thread(self._registry.live)
        if live is None:
            raise ReleaseError("no release is live: run python -m serve.promote")
        return live

    async def _apply_denylist(self, name: str | None) -> None:
        """Reads the denylist of that name, if it is another than before, and hands it to all loaded releases."""
        if name == self._denylist[0]:
            return
        self._denylist = name, await asyncio.to_thread(self._registry.read_denylist, name)
        for built in self._built.values():
            self._set_denylist(built, self._denylist[1])

    def _apply(self, live: LivePointer) -> None:
        """Answers as the pointer says from now on, as far as releases are loaded; begins to load a missing one."""
        before = (self.current, self._experiment)
        if live.release in self._built:
            self.current = live.release
        if all(id_ in self._built for id_ in live.others):
            self._experiment = live.experiment
        if (self.current, self._experiment) != before:
            self._in_use_until = time.monotonic() + self._config.linger_s
        if self._loading is None or self._loading.done():
            missing = [id_ for id_ in live.to_hold() if id_ not in self._built and self._failed.may_try(id_, live)]
            self._loading = asyncio.create_task(self._load(missing[0], live)) if missing else None

    async def _load(self, release_id: str, live: LivePointer) -> None:
        """Drops what is not needed any more, then loads a release; where that fails, the heartbeat says why."""
        await asyncio.sleep(self._in_use_until - time.monotonic())
        in_experiment: Iterable[str] = () if self._experiment is None else self._experiment.shares
        needed = {self.current, *live.to_hold(), *in_experiment}
        for id_ in self._built.keys() - needed:
            await self._drop(id_)
        try:
            await self.get(release_id)
        except Exception as e:  # whatever is wrong with the new release, the present one goes on answering
            log_failure(f"staying on release {self.current}", e)
            self._failed.add(release_id, live, f"{e}")
        await self._refresh()

    async def _drop(self, release_id: str) -> None:
        dropped = self._built.pop(release_id)
        try:
            if self._close is not None:
                await self._close(dropped)
        except Exception as e:  # it is out of use, and the next one is to be loaded
            log_failure(f"release {release_id} is not closed", e)

    def _heartbeat(self) -> Heartbeat:
        """The state of this replica now."""
        return Heartbeat(
            replica=self._config.replica,
            current=self.current,
            holds={id_: self._memory_mib[id_] for id_ in self._built},
            failed=self._failed.reasons(),
            experiment=None if self._experiment is None else self._experiment.key,
            denylist=self._denylist[0],
            lease_s=self._config.lease_s,
            answers_stale=self._config.answers_stale,
        )

    async def _send_heartbeat(self) -> None:
        """Writes this replica's heartbeat; if that fails, the next one is due as usual."""
        async with self._heartbeat_lock:
            if self._is_stopped:
                return
            heartbeat, self._reported_at = self._heartbeat(), time.monotonic()
            try:
                await asyncio.to_thread(self._replicas.write, heartbeat)
                self._reported = heartbeat
            except OSError as e:
                log_failure("heartbeat not written", e)
