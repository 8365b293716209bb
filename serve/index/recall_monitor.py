"""The recall monitor: measures the recall of approximate searches on a sample of the live queries."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data.cluster.failure_log import FailureLog
from serve.filters.grammar import Filter
from serve.index.protocol import Hits, ItemIndex, recall

log_failure = FailureLog("recall")

MAX_WAITING = 16
"""Most searches that wait to be repeated; further ones are left out of the sample, so that no backlog builds up."""

BANDS = ((1.0, "all"), (0.05, "1/20 or more"), (0.001, "1/1000 or more"), (0.0, "fewer"))
"""Lower bounds of the share of the items that pass a query's filter, and the metric's label for such queries."""


@dataclass(frozen=True, slots=True)
class SampledSearch:
    """The arguments of a search, as for `ItemIndex.search`, and the hits that it gave."""

    query_D: np.ndarray
    k: int
    filter: Filter | None
    exclude: np.ndarray | None
    hits: Hits


class RecallMonitor:
    """Repeats a share of the searches exactly, one at a time, in the background.

    Args:
        share: Share of the searches to repeat, in 0..1.
        index: The index whose searches are repeated.
        report: Called with recall@k and the label of the query's filter (see `band`) for each repeated search.
    """

    def __init__(self, share: float, index: ItemIndex, report: Callable[[float, str], None]) -> None:
        self._share = share
        self._index = index
        self._report = report
        self._waiting: asyncio.Queue[SampledSearch] = asyncio.Queue(MAX_WAITING)
        self._random = random.Random()
        self._task: asyncio.Task[None] | None = None

    def sample(self, search: SampledSearch) -> None:
        """Takes a search into the sample, with the probability `share`."""
        if self._random.random() < self._share and not self._waiting.full():
            self._waiting.put_nowait(search)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._repeat_searches())

    def close(self) -> None:
        """Repeats no more searches."""
        self._share = 0.0
        if self._task is not None:
            self._task.cancel()

    async def _repeat_searches(self) -> None:
        while True:
            search = await self._waiting.get()
            try:
                await self._repeat(search)
            except Exception as e:  # whatever is wrong with one search, the next one is checked
                log_failure("recall is not checked", e)

    async def _repeat(self, search: SampledSearch) -> None:
        exact = await self._index.search_exact(search.query_D, search.k, filter=search.filter, exclude=search.exclude)
        if len(exact.rows):
            passing = await asyncio.to_thread(self._index.selectivity, search.filter)
            self._report(recall(search.hits, exact), band(passing))


def band(selectivity: float | None) -> str:
    """Returns the label of queries whose filter lets this share of the items pass; None is a share not known."""
    if selectivity is None:
        return "unknown"
    return next(label for lower_bound, label in BANDS if selectivity >= lower_bound)
