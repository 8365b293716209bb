"""What a replica holds of the releases: the live one, and the one before or the one to come.

A replica looks at the live pointer, makes ready what it names while the present release goes on answering, and says in
its note (serve/rollout/heartbeats.py) what it holds. It answers by the release that the pointer names as soon as it holds it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve.experiments.assignment import CONTROL, Arm, Experiment
from serve.releases.pointer import Live
from serve.releases.registry import Registry
from serve.releases.release import Release, ReleaseError
from serve.rollout.heartbeats import BEAT_S, Fleet, Note, attempted
from serve.rollout.memory import check_room, used_mib

T = TypeVar("T")
logger = logging.getLogger("serve.rollout.follower")

AGAIN_S = 10.0
"""So long after a failure a release is tried again; a candidate is not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Following:
    """How a replica follows the pointer.

    Attributes:
        replica: its name, unique.
        poll_s: between two looks at the pointer.
        lease_s: no request is answered by what an older look at the pointer said. (Where the storage does not answer,
            requests are answered all the same.)
        linger_s: what no pointer names any more is kept so long for requests in flight.
    """

    replica: str
    poll_s: float
    lease_s: float = 3.0
    linger_s: float = 2.0


class LiveReleases(Generic[T]):
    """Follows the live pointer and keeps `build(release)` for what it names. All methods run on one event loop."""

    def __init__(
        self,
        registry: Registry,
        build: Callable[[Release], Awaitable[T]],
        following: Following,
        withdraw: Callable[[T, frozenset[str]], None] = lambda built, item_ids: None,
    ) -> None:
        """`withdraw`: has what was built leave out items, by their ids."""
        self._registry = registry
        self._withdraw = withdraw
        self._withdrawn: tuple[str | None, frozenset[str]] = (None, frozenset())
        self._build = build
        self._following = following
        self._fleet = Fleet.of(registry.folder)
        self._built: dict[str, T] = {}
        self._memory: dict[str, float] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._building, self._looking = asyncio.Lock(), asyncio.Lock()
        self._making: asyncio.Task[None] | None = None
        self._looked_at = self._told_at = -math.inf
        self._unused_until = 0.0
        self._told: Note | None = None
        self._experiment: Experiment | None = None
        self.current: str | None = None

    async def start(self) -> "LiveReleases[T]":
        """Makes the live release ready, then follows the pointer in the background.

        Raises:
            ReleaseError: nothing is promoted, or the live release does not come out as it was published.
        """
        await self._tell()  # before the pointer is read: whoever moves it from now on waits for this replica
        await self._leave_out((await self._pointer()).withdrawn)
        while (live := await self._pointer()).release != self.current:
            await self.get(live.release)
            self.current = live.release
        for release_id in live.others:
            await self._make(release_id, live)
        await self._look()
        self._task = asyncio.create_task(self._follow())
        return self

    async def now(self) -> T:
        """What was built for the live release."""
        if time.monotonic() - self._looked_at > self._following.lease_s:
            await self._look()
        assert self.current is not None, "a replica is not ready before it holds a release"
        return self._built[self.current]

    async def chosen(self, unit: str) -> tuple[T, Arm | None]:
        """What answers a user, or a request of nobody: by the live release, or by another that an experiment tries."""
        live = await self.now()
        if self._experiment is None:
            return live, None
        variant = self._experiment.variant(unit)
        if variant not in self._built:  # control, or a release that this replica could not make ready
            return live, Arm(self._experiment.name, CONTROL)
        return self._built[variant], Arm(self._experiment.name, variant)

    async def get(self, release_id: str) -> T:
        """What was built for a release; built now where this replica does not hold it."""
        if release_id not in self._built:
            async with self._building:
                if release_id not in self._built:
                    before = used_mib()
                    release = await asyncio.to_thread(self._open, release_id)
                    built = await self._build(release)
                    self._withdraw(built, self._withdrawn[1])
                    self._built[release_id] = built
                    self._memory[release_id] = round(max(used_mib() - before, 0.0), 1)
        return self._built[release_id]

    def _open(self, release_id: str) -> Release:
        check_room(self._registry.manifest(release_id))
        return self._registry.open(release_id)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._following.poll_s)
            await self._look()

    async def _look(self) -> None:
        """Reads the pointer and does what it says; those who ask for it at the same time share a look."""
        asked = time.monotonic()
        async with self._looking:
            if self._looked_at >= asked:
                return
            started = time.monotonic()
            try:
                live = await self._pointer()
                await self._leave_out(live.withdrawn)
                self._heed(live)
            except (ValueError, OSError) as e:
                logger.error("staying on release %s: %s", self.current, e)
            self._looked_at = started
            if self._note() != self._told or started - self._told_at > BEAT_S:
                await self._tell()

    async def _pointer(self) -> Live:
        live = await asyncio.to_thread(self._registry.live)
        if live is None:
            raise ReleaseError("no release is live: run python -m serve.promote")
        return live

    async def _leave_out(self, withdrawn: str | None) -> None:
        """Reads the list of withdrawn items where it is another one."""
        if withdrawn == self._withdrawn[0]:
            return
        self._withdrawn = withdrawn, await asyncio.to_thread(self._registry.withdrawn, withdrawn)
        for built in self._built.values():
            self._withdraw(built, self._withdrawn[1])

    def _heed(self, live: Live) -> None:
        before = (self.current, self._experiment)
        if live.release in self._built:
            self.current = live.release
        if all(id_ in self._built for id_ in live.others):
            self._experiment = live.experiment
        if (self.current, self._experiment) != before:
            self._unused_until = time.monotonic() + self._following.linger_s
        if self._making is None or self._making.done():
            lacking = [id_ for id_ in live.held() if id_ not in self._built and self._may_try(id_, live)]
            self._making = asyncio.create_task(self._make(lacking[0], live)) if lacking else None

    def _may_try(self, release_id: str, live: Live) -> bool:
        failed = self._failed.get(attempted(release_id, live.attempt))
        return failed is None or (release_id not in live.candidates and time.monotonic() - failed[1] > AGAIN_S)

    async def _make(self, release_id: str, live: Live) -> None:
        """Makes room, then makes a release ready; what fails is noted and not taken."""
        await asyncio.sleep(self._unused_until - time.monotonic())
        kept = {self.current, *live.held(), *([] if self._experiment is None else self._experiment.shares)}
        self._built = {id_: built for id_, built in self._built.items() if id_ in kept}
        try:
            await self.get(release_id)
        except Exception as e:  # whatever is wrong with it, the present release goes on answering
            logger.error("staying on release %s: %s", self.current, e)
            self._failed = {attempted(release_id, live.attempt): (f"{e}", time.monotonic())}
        await self._look()

    def _note(self) -> Note:
        return Note(
            replica=self._following.replica,
            current=self.current,
            holds={id_: self._memory[id_] for id_ in self._built},
            failed={key: reason for key, (reason, _) in self._failed.items()},
            experiment=None if self._experiment is None else self._experiment.key,
            withdrawn=self._withdrawn[0],
            lease_s=self._following.lease_s,
        )

    async def _tell(self) -> None:
        """Writes this replica's note."""
        note, self._told_at = self._note(), time.monotonic()
        try:
            await asyncio.to_thread(self._fleet.write, note)
            self._told = note
        except OSError as e:
            logger.error("replica's note: %s", e)
