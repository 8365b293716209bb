"""Readings of the live pointer on a storage that may hang: shared by all who wait, and waited for a bounded time."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from data.cluster.failure_log import FailureLog

log_failure = FailureLog("follower")


class BoundedReading:
    """Reads again and again, one reading at a time, and says whether the last one that succeeded is stale.

    All methods run on one event loop.
    """

    def __init__(self, read: Callable[[], Awaitable[None]], lease_s: float, retry_s: float) -> None:
        """Begins without a reading, which is stale.

        Args:
            read: reads and applies; it raises what went wrong.
            lease_s: seconds after its beginning from which a reading is stale.
            retry_s: seconds after which who waits has a reading that failed done again.
        """
        self._read = read
        self._lease_s, self._retry_s = lease_s, retry_s
        self._succeeded_at = self._began_at = -math.inf
        self._lock = asyncio.Lock()
        self._awaited: asyncio.Task[None] | None = None
        self._given_up: asyncio.Task[None] | None = None

    @property
    def is_stale(self) -> bool:
        """Whether the last reading that succeeded began longer ago than the lease."""
        return self.age_s > self._lease_s

    @property
    def age_s(self) -> float:
        """Seconds since the last reading that succeeded began; infinite before there is one."""
        return time.monotonic() - self._succeeded_at

    async def read(self, place: str) -> None:
        """Reads; callers at the same time share one reading. It takes as long as it takes.

        Args:
            place: begins the log's line if it fails.
        """
        called_at = time.monotonic()
        async with self._lock:
            if self._began_at >= called_at:
                return
            self._began_at = began = time.monotonic()
            try:
                await self._read()
                self._succeeded_at = began
            except Exception as e:
                # Broad on purpose: whatever is wrong with the storage or with a file in it, the replica goes on
                # answering with what it has loaded.
                log_failure(place, e)

    async def wait(self, wait_s: float | None, place: str) -> None:
        """Waits for a new reading, at most `wait_s` seconds; one that hangs is waited for once, by whoever comes first.

        Args:
            wait_s: None waits as long as it takes.
            place: as for `read`.
        """
        if self._awaited is None or self._awaited.done():
            if time.monotonic() - self._began_at < self._retry_s:  # it has just failed
                return
            self._awaited = asyncio.create_task(self.read(place))
        if self._awaited is self._given_up:
            return
        done, _ = await asyncio.wait({self._awaited}, timeout=wait_s)
        if not done:
            self._given_up = self._awaited
            log_failure("the live pointer is stale", TimeoutError(f"the storage has not answered in {wait_s:.3g} s"))
