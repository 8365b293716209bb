"""Reads the metrics of the endpoint periodically, and keeps those of the last hour in memory.

One task does so for all browsers, from the first time that somebody opens the view. The replicas of the endpoint are
not asked: Ray's agent on each node exports the metrics.
"""

import asyncio
import json
import time
from collections import deque
from dataclasses import replace
from pathlib import Path

import httpx

from serve.viewer.config import PageConfig
from serve.viewer.live.samples import FROM, Key, Reading, parsed, with_keys_of

KEPT_S = 3600.0

TIMEOUT_S = 5.0


class MetricsRecorder:
    """The metrics of the last hour.

    Attributes:
        readings: Oldest first.
        problem: Why the last reading is not whole; empty if it is.
    """

    def __init__(self, config: PageConfig) -> None:
        self._config = config
        self._task: asyncio.Task[None] | None = None
        self.readings: deque[Reading] = deque()
        self.problem = "nothing has been read yet"

    def start(self) -> None:
        """Begins to read, unless it does already; needs a running event loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._record())

    def addresses(self) -> list[str]:
        """Returns where metrics are: what the configuration names, or else what Ray lists.

        Raises:
            OSError, ValueError: the list cannot be read.
        """
        if self._config.metrics:
            return list(self._config.metrics)
        found = json.loads(Path(self._config.discovery).read_text())
        return [address for group in found for address in group["targets"]]

    async def _record(self) -> None:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
            while True:
                started = time.monotonic()
                await self._read(http)
                await asyncio.sleep(max(self._config.every_s - (time.monotonic() - started), 0.1))

    def _keep(self, reading: Reading) -> None:
        before = self.readings[-1].values if self.readings else ()
        self.readings.append(replace(reading, values=with_keys_of(reading.values, before)))

    def _forget(self) -> None:
        """Drops the readings that are older than KEPT_S, also while no new ones come."""
        while self.readings and self.readings[0].at < time.time() - KEPT_S:
            self.readings.popleft()

    async def _read(self, http: httpx.AsyncClient) -> None:
        self._forget()
        try:
            addresses = await asyncio.to_thread(self.addresses)
        except (OSError, ValueError, TypeError, KeyError) as e:
            self.problem = (
                f"Ray's list of metrics, {self._config.discovery}, cannot be read ({e}): start the endpoint with"
                " cluster.dashboard=true, or name the addresses in page.metrics"
            )
            return
        found = await asyncio.gather(*(self._scrape(http, address) for address in addresses), return_exceptions=True)
        pairs = list(zip(addresses, found, strict=True))
        failed = [f"{address}: {e or type(e).__name__}" for address, e in pairs if isinstance(e, BaseException)]
        values: dict[Key, float] = {}
        for address, samples in pairs:
            if isinstance(samples, dict):
                values |= {(name, (*labels, (FROM, address))): value for (name, labels), value in samples.items()}
        self.problem = "; ".join(failed)
        read = frozenset(address for address, samples in pairs if isinstance(samples, dict))
        if read:
            self._keep(Reading(time.time(), values, read))

    @staticmethod
    async def _scrape(http: httpx.AsyncClient, address: str) -> dict[Key, float]:
        answer = await http.get(f"http://{address}/metrics")
        answer.raise_for_status()
        return await asyncio.to_thread(parsed, answer.text)
