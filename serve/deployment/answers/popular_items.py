"""What is popular now, in an ingress replica: refreshed periodically, and turned into rows of each release."""

import asyncio
import time
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.cluster.failure_log import FailureLog
from serve.api.adapter import RequestAdapter
from serve.events.config import EventsConfig
from serve.events.popular import PopularNow
from serve.pipeline.fallback import Fallback, RecentFirst

log_failure = FailureLog("popular items")

EVERY_S = 30.0
"""Seconds between two readings; compaction writes less often."""


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
        self._fallbacks: dict[tuple[str, str], Fallback] = {}

    async def refresh(self) -> None:
        """Reads what is popular now, unless that was done lately. Where it fails, the last reading holds."""
        if time.monotonic() - self._read_at < EVERY_S:
            return
        self._read_at = time.monotonic()
        try:
            self._now = await asyncio.to_thread(PopularNow.read, self._config, self._storage)
            self._fallbacks = {}
        except (OSError, ValueError) as e:
            log_failure("what is popular now cannot be read", e)

    def of(self, adapter: RequestAdapter, context: Mapping[str, str]) -> Fallback:
        """The fallback of a request: what is popular now in its context, and then the items of the release's log."""
        if (key := self._now.at(context)) is None:
            return adapter.fallback
        found = self._fallbacks.get((adapter.release_id, key))
        if found is None:
            ids, weights = self._now.items[key]
            rows = adapter.items.rows(pa.array(ids, pa.string())).astype(np.int64)
            found = RecentFirst(rows[rows > 0], weights[rows > 0], adapter.fallback)
            self._fallbacks[adapter.release_id, key] = found
        return found
