"""The popularity fallback: the most popular items, for users without a vector and when retrieval cannot answer."""

import numpy as np

from serve.filters.grammar import Filter
from serve.filters.masks import FilterColumns
from serve.pipeline.messages import Candidates
from serve.pipeline.source import Source
from towers.checkpoint.checkpoint import Checkpoint


class PopularFallback:
    """The items of one release by their number of training interactions; ties go to the lower row."""

    def __init__(self, release_id: str, parts: Checkpoint, columns: FilterColumns) -> None:
        self.release_id = release_id
        self._counts_I = parts.counts_I
        self._columns = columns
        rows_by_count = np.argsort(-self._counts_I, kind="stable")
        self._order = rows_by_count[rows_by_count > 0]

    def top(self, k: int, filter: Filter | None, exclude: np.ndarray) -> Candidates:
        """Returns the k most popular items that pass the filter and are not among the rows of `exclude`."""
        allowed_I = np.ones(len(self._counts_I), dtype=bool)
        if filter is not None:
            allowed_I[1:] = self._columns.mask(filter)
        allowed_I[exclude] = False
        rows_K = self._order[allowed_I[self._order]][:k]
        return Candidates(self.release_id, rows_K, self._counts_I[rows_K].astype(np.float32), Source.popular)
