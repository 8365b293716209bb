"""What a replica holds of the releases: the live one and the one before, built when the pointer moves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from serve.golden import check_golden
from serve.release import Registry, Release, ReleaseError

T = TypeVar("T")
logger = logging.getLogger("serve.live")


class LiveReleases(Generic[T]):
    """Follows the live pointer and keeps `build(release)` for what it points at.

    A new release is opened, checked against its golden queries and built while the old one goes on answering; a
    release that fails is logged and not taken. All methods run on one event loop.
    """

    def __init__(self, registry: Registry, build: Callable[[Release], Awaitable[T]], poll_s: float) -> None:
        self._registry = registry
        self._build = build
        self._poll_s = poll_s
        self._built: dict[str, T] = {}
        self._lock = asyncio.Lock()
        self.current: str | None = None

    async def start(self) -> "LiveReleases[T]":
        """Builds the live release, then follows the pointer in the background.

        Raises:
            ReleaseError: nothing is promoted, or the live release does not reproduce its golden queries.
        """
        live = await asyncio.to_thread(self._registry.live)
        if live is None:
            raise ReleaseError("no release is live: run python -m serve.promote")
        await self.get(live.release)
        self.current = live.release
        self._task = asyncio.create_task(self._follow())
        return self

    async def get(self, release_id: str) -> T:
        """What was built for a release; built now where this replica has not seen the release yet."""
        if release_id not in self._built:
            async with self._lock:
                if release_id not in self._built:
                    self._built[release_id] = await self._build(await asyncio.to_thread(self._open, release_id))
        return self._built[release_id]

    def _open(self, release_id: str) -> Release:
        release = self._registry.open(release_id)
        check_golden(release)
        return release

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                live = await asyncio.to_thread(self._registry.live)
                if live is not None and live.release != self.current:
                    await self.get(live.release)
                    self._built = {k: v for k, v in self._built.items() if k in (live.release, self.current)}
                    self.current = live.release
            except (ValueError, OSError) as e:
                logger.error("staying on release %s: %s", self.current, e)
