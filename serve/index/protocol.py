"""The item index: nearest items to a vector, whichever way they are kept.

Shape legend: D dimension, K hits.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.artifacts.errors import UserError
from serve.filters.grammar import Filter


class IndexUnavailable(UserError, ConnectionError):
    """Milvus does not answer, or not with what was asked for. The message names the address and the cure."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Found items, best first, ties by lower row: rows int64 [K], scores float32 [K]."""

    rows: np.ndarray
    scores: np.ndarray

    @classmethod
    def sorted(cls, rows: np.ndarray, scores: np.ndarray, k: int) -> "Hits":
        """The best k of some hits in any order."""
        best = np.lexsort((rows, -scores))[:k]
        return cls(rows[best].astype(np.int64), scores[best].astype(np.float32))


def recall(found: Hits, exact: Hits) -> float:
    """The share of the exact hits that was found; what ties with the last of them counts."""
    return float((found.scores >= exact.scores[-1] - 1e-5).sum() / len(exact.rows))


class ItemIndex(Protocol):
    """The items of one release by inner product. Every implementation passes tests/conformance.

    Attributes:
        approximate: a search may miss some of the nearest items.
    """

    release_id: str
    num_items: int
    dim: int
    approximate: bool

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """The k items of highest inner product that pass the filter and are not excluded.

        Args:
            query_D: float32 [D].
            exclude: int item rows.

        Returns:
            Fewer than k hits only where fewer items are eligible.

        Raises:
            ValueError: the query is not of the index's dimension.
            IndexUnavailable: the index cannot answer.
        """
        ...

    async def exactly(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """What `search` would find if it took all the time it needs; for measurements, off the event loop."""
        ...

    def passing(self, filter: Filter | None) -> float | None:
        """The share of the items that pass a filter, where that is known without a search."""
        ...

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), D] of items that are in the index."""
        ...

    async def close(self) -> None: ...


def check_query(query_D: np.ndarray, dim: int) -> None:
    """Raises ValueError where a query vector cannot be compared with the items."""
    if query_D.shape != (dim,):
        raise ValueError(f"query vector: shape {query_D.shape}, the index holds vectors of dimension {dim}")
    if not np.isfinite(query_D).all():
        raise ValueError("query vector: holds NaN or infinite values")
