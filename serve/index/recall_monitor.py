"""How much of the exact answer approximate searches find, measured all the time on a sample of real queries."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from serve.filters.grammar import Filter
from serve.index.protocol import Hits, IndexUnavailable, ItemIndex, recall

logger = logging.getLogger("serve.index.recall_monitor")

AT_MOST = 16
"""Searches waiting to be checked; beyond, the sample has a gap rather than the replica a backlog."""

BANDS = ((1.0, "all"), (0.05, "1/20 or more"), (0.001, "1/1000 or more"), (0.0, "fewer"))
"""What share of the items a filter lets pass, and the label of such queries."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A search that was answered approximately."""

    query_D: np.ndarray
    k: int
    filter: Filter | None
    exclude: np.ndarray | None
    hits: Hits


class RecallMonitor:
    """Repeats a share of the searches exactly, one at a time, in the background.

    Args:
        report: takes recall@k and the band of the filter's selectivity.
    """

    def __init__(self, share: float, index: ItemIndex, report: Callable[[float, str], None]) -> None:
        self._share = share
        self._index = index
        self._report = report
        self._waiting: asyncio.Queue[Checked] = asyncio.Queue(AT_MOST)
        self._random = random.Random()
        self._task: asyncio.Task[None] | None = None

    def offer(self, search: Checked) -> None:
        """Perhaps takes a search into the sample; costs next to nothing."""
        if self._random.random() < self._share and not self._waiting.full():
            self._waiting.put_nowait(search)
            if self._task is None:
                self._task = asyncio.create_task(self._check())

    async def _check(self) -> None:
        while True:
            search = await self._waiting.get()
            try:
                exact = await self._index.exactly(
                    search.query_D, search.k, filter=search.filter, exclude=search.exclude
                )
            except IndexUnavailable as e:
                logger.warning("recall is not checked: %s", e)
                continue
            if len(exact.rows):
                self._report(recall(search.hits, exact), band(self._index.passing(search.filter)))


def band(passing: float | None) -> str:
    """The label of queries whose filter lets this share of the items pass."""
    if passing is None:
        return "unknown"
    return next(label for least, label in BANDS if passing >= least)
