"""The popularity fallback: the most popular items, for users without a vector and when retrieval cannot answer."""

from typing import TYPE_CHECKING, Protocol

import numpy as np

from data.sequences.membership import distinct, is_among
from serve.filters.grammar import Filter
from serve.filters.mask_cache import MAX_LISTED, MatchingItems
from serve.filters.masks import FilterColumns
from serve.pipeline.messages import Candidates
from serve.pipeline.source import Source
from towers.model.tie_order import most_popular

if TYPE_CHECKING:  # it brings torch, which the module does without
    from towers.checkpoint.checkpoint import Checkpoint

FEW = MAX_LISTED
"""If at most this many items pass a filter, they are sorted by popularity; otherwise the popular ones are looked at."""

GLANCE = 4096
"""Popular items that are looked at where there is no time to look at more."""

BLOCK = 1024
"""Popular items that are looked at first; then twice as many, and so on."""


class Fallback(Protocol):
    """Gives items where there are no better ones."""

    def top(self, k: int, filter: Filter | None, exclude: np.ndarray, glance: bool = False) -> Candidates:
        """The first k items that pass the filter and are not among the rows of `exclude`.

        Args:
            glance: whether to look at the first GLANCE items alone, which the event loop has time for. There may then
                be fewer.
        """
        ...

    def holds(self, filter: Filter) -> bool:
        """Whether it is known which items pass the filter, so that `top` does not compute it."""
        ...

    async def prepare(self, filter: Filter) -> None:
        """Returns when it is known which items pass the filter."""
        ...

    def begin(self, filter: Filter) -> None:
        """Begins to find out which items pass the filter, for requests to come. It does not block."""
        ...


class PopularFallback:
    """The items of one release by their popularity in the log; ties fall as in the release's evaluation."""

    def __init__(self, release_id: str, parts: "Checkpoint", columns: FilterColumns) -> None:
        self.release_id = release_id
        self._popularity_I = parts.popularity_I
        self._columns = columns
        self._order = most_popular(self._popularity_I, parts.ties)
        self._rank_I = np.empty(len(self._popularity_I), dtype=np.int32)
        self._rank_I[self._order] = np.arange(len(self._order), dtype=np.int32)

    def top(self, k: int, filter: Filter | None, exclude: np.ndarray, glance: bool = False) -> Candidates:
        """Returns the k most popular items that pass the filter and are not among the rows of `exclude`.

        It looks at no more items than it takes, which are many where those that pass are not popular; for
        `glance` see `Fallback.top`. The mask of a filter that is not cached takes all items' features: call `prepare`
        before.
        """
        matching = self.matching(filter)
        excluded = distinct(exclude)
        if matching is not None and matching.count <= (min(FEW, GLANCE) if glance else FEW):
            rows = matching.entries + 1
            rows = rows[~is_among(rows, excluded)]
            rows_K = rows[np.argsort(self._rank_I[rows])][:k]
        else:
            order = self._order[:GLANCE] if glance else self._order
            rows_K = _first(order, k, None if matching is None else matching.mask_N, excluded)
        return Candidates(self.release_id, rows_K, self._popularity_I[rows_K].astype(np.float32), Source.popular)

    def holds(self, filter: Filter) -> bool:
        """See `Fallback.holds`."""
        return self._columns.holds(filter)

    async def prepare(self, filter: Filter) -> None:
        """See `Fallback.prepare`."""
        await self._columns.prepare(filter)

    def begin(self, filter: Filter) -> None:
        """See `Fallback.begin`."""
        self._columns.begin(filter)

    def matching(self, filter: Filter | None) -> MatchingItems | None:
        """The items that pass a filter; None where there is no filter."""
        return None if filter is None else self._columns.matching(filter)


class RecentFirst:
    """The items that are popular now, and after them those of the release's log.

    Args:
        rows: int64 [K], items of the release, the most popular first.
        weights: float [K], their scores.
        rest: the items of the log.
    """

    def __init__(self, rows: np.ndarray, weights: np.ndarray, rest: PopularFallback) -> None:
        self._rows, self._weights, self._rest = rows, weights, rest

    def holds(self, filter: Filter) -> bool:
        """See `Fallback.holds`."""
        return self._rest.holds(filter)

    async def prepare(self, filter: Filter) -> None:
        """See `Fallback.prepare`."""
        await self._rest.prepare(filter)

    def begin(self, filter: Filter) -> None:
        """See `Fallback.begin`."""
        self._rest.begin(filter)

    def top(self, k: int, filter: Filter | None, exclude: np.ndarray, glance: bool = False) -> Candidates:
        """See `PopularFallback.top`."""
        matching = self._rest.matching(filter)
        allowed = ~is_among(self._rows, distinct(exclude))
        if matching is not None:
            allowed &= matching.mask_N[self._rows - 1]
        rows_K, weights_K = self._rows[allowed][:k], self._weights[allowed][:k]
        if len(rows_K) == k:
            return Candidates(self._rest.release_id, rows_K, weights_K.astype(np.float32), Source.popular)
        rest = self._rest.top(k - len(rows_K), filter, np.concatenate([exclude, rows_K]), glance)
        scores_K = np.concatenate([weights_K, rest.scores_K]).astype(np.float32)
        return Candidates(rest.release_id, np.concatenate([rows_K, rest.rows_K]), scores_K, Source.popular)


def _first(order: np.ndarray, k: int, mask_N: np.ndarray | None, excluded: np.ndarray) -> np.ndarray:
    """The first k of these rows that pass the mask and are not excluded, looked at in blocks."""
    found, num_found, start, size = [], 0, 0, BLOCK
    while num_found < k and start < len(order):
        rows = order[start : start + size]
        rows = rows[~is_among(rows, excluded)]
        found.append(rows if mask_N is None else rows[mask_N[rows - 1]])
        num_found += len(found[-1])
        start, size = start + size, 2 * size
    return np.concatenate(found)[:k]
