"""What is popular now, in an ingress replica: refreshed periodically, and turned into rows of each release."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.cluster.background import in_own_thread
from data.cluster.failure_log import FailureLog
from serve.api.adapter import RequestAdapter
from serve.events.config import EventsConfig
from serve.events.popular.now import PopularNow
from serve.pipeline.fallback import Fallback, RecentFirst

log_failure = FailureLog("popular items")

EVERY_S = 30.0
"""Seconds between two readings; compaction writes less often."""

Key = tuple[str, str]
"""A release and a context value."""


class PopularItems:
    """The popular items that answer requests for which no model can rank items.

    Args:
        config: Whether events say what is popular, and how fast that decays.
        storage: The storage root.
    """

    def __init__(self, config: EventsConfig, storage: Folder) -> None:
        self._config, self._storage = config, storage
        self._now = PopularNow()
        self._read_at = -EVERY_S
        self._fallbacks: dict[Key, tuple[PopularNow, Fallback]] = {}
        self._making: dict[Key, asyncio.Task[None]] = {}

    async def refresh(self) -> None:
        """Reads what is popular now, unless that was done lately. Where it fails, the last reading holds."""
        if time.monotonic() - self._read_at < EVERY_S:
            return
        self._read_at = time.monotonic()
        try:
            now = await in_own_thread("popular-items", partial(PopularNow.read, self._config, self._storage))
        except (OSError, ValueError) as e:
            log_failure("what is popular now cannot be read", e)
            now = replace(self._now)  # as if it had been read again, so that releases out of use are let go
        # what nobody has asked for since the reading before is dropped, with the release that it is of
        self._fallbacks = {key: made for key, made in self._fallbacks.items() if made[0] is self._now}
        self._now = now

    def of(self, adapter: RequestAdapter, context: Mapping[str, str]) -> Fallback:
        """The fallback of a request: what is popular now in its context, and then the items of the release's log.

        After a new reading it is made in a thread. Meanwhile that of the reading before answers, or the release's own.
        """
        if (context_value := self._now.at(context)) is None:
            return adapter.fallback
        key = adapter.release_id, context_value
        now, fallback = self._fallbacks.get(key, (None, adapter.fallback))
        if now is not self._now and key not in self._making:
            self._making[key] = asyncio.create_task(self._make(key, self._now, adapter))
        return fallback

    async def _make(self, key: Key, now: PopularNow, adapter: RequestAdapter) -> None:
        try:
            self._fallbacks[key] = now, await asyncio.to_thread(_recent_first, *now.items[key[1]], adapter)
        except Exception as e:  # the release's own items answer until the next reading
            log_failure("what is popular now cannot be told by this release", e)
            self._fallbacks[key] = now, adapter.fallback
        finally:
            del self._making[key]


def _recent_first(ids: Sequence[str], weights: np.ndarray, adapter: RequestAdapter) -> RecentFirst:
    """What is popular now as items of a release. Looking up a thousand ids takes up to some hundredths of a second."""
    rows = adapter.items.rows(pa.array(ids, pa.string())).astype(np.int64)
    return RecentFirst(rows[rows > 0], weights[rows > 0], adapter.fallback)
