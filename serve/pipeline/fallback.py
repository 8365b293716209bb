"""The popularity fallback: the most popular items, for users without a vector and when retrieval cannot answer."""

import numpy as np

from serve.filters.grammar import Filter
from serve.filters.masks import FilterColumns
from serve.pipeline.messages import Candidates
from serve.pipeline.source import Source
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.ranking import most_popular


class PopularFallback:
    """The items of one release by their number of training interactions; ties fall as in the release's evaluation."""

    def __init__(self, release_id: str, parts: Checkpoint, columns: FilterColumns) -> None:
        self.release_id = release_id
        self._counts_I = parts.counts_I
        self._columns = columns
        self._order = most_popular(self._counts_I, parts.ties)

    def top(self, k: int, filter: Filter | None, exclude: np.ndarray) -> Candidates:
        """Returns the k most popular items that pass the filter and are not among the rows of `exclude`."""
        allowed_I = np.ones(len(self._counts_I), dtype=bool)
        if filter is not None:
            allowed_I[1:] = self._columns.mask(filter)
        allowed_I[exclude] = False
        rows_K = self._order[allowed_I[self._order]][:k]
        return Candidates(self.release_id, rows_K, self._counts_I[rows_K].astype(np.float32), Source.popular)
