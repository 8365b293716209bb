"""The protocol of an item index: it finds the items of highest inner product with a vector.

Shape legend: D dimension, K hits.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.artifacts.errors import UserError
from serve.filters.grammar import Filter
from towers.model.tie_order import TieOrder

TIE_MARGIN = 16
"""Hits asked for beyond k, which show whether a tie goes on behind the k-th place and nearly always end it."""

MAX_TIED = 8192
"""If a tie goes on behind the margin, the search is repeated for this many more hits, so that of up to so many equal
items those come that the order of ties puts first. Of more equal items, some that the search has found come."""


def made_again(release_id: str | None = None) -> str:
    """What to do about the collection of a release that is not there, or not as it should be.

    Args:
        release_id: the release; None where it is not known whose collection it is.
    """
    named = "release=ID, with the id of its release," if release_id is None else f"release={release_id}"
    return f"python -m serve.publish {named} makes it again"


class IndexUnavailable(UserError, ConnectionError):
    """The index cannot answer, most often because Milvus does not. The message names the address and the cure."""


class CollectionMissing(IndexUnavailable):
    """Milvus answers, and does not have the collection."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Found items, best first.

    Attributes:
        rows: int64 [K].
        scores: float32 [K], inner products.
    """

    rows: np.ndarray
    scores: np.ndarray

    @classmethod
    def sorted(cls, rows: np.ndarray, scores: np.ndarray, k: int, ties: TieOrder | None = None) -> "Hits":
        """Returns the best k of some hits that may be in any order; equal scores by `ties`, or by row if it is None."""
        best = (np.lexsort((rows, -scores)) if ties is None else ties.best_first(rows, scores))[:k]
        return cls(rows[best].astype(np.int64), scores[best].astype(np.float32))


def recall(found: Hits, exact: Hits) -> float:
    """Returns the share of the exact hits that was found; a hit that ties with the last exact one counts."""
    return float((found.scores >= exact.scores[-1] - 1e-5).sum() / len(exact.rows))


class ItemIndex(Protocol):
    """The items of one release. Every implementation passes `tests/conformance/test_item_index.py`.

    Attributes:
        release_id: The release.
        num_items: Number of items.
        dim: Length of an item vector.
        approximate: Whether a search may miss some of the nearest items.
    """

    release_id: str
    num_items: int
    dim: int
    approximate: bool

    async def search(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """Finds the k items of highest inner product that pass the filter and are not excluded.

        Equal scores are ordered by the release's `TieOrder`, and so is which of several equal items come last, unless
        more than MAX_TIED items are equal there.

        Args:
            query_D: float32 [D].
            k: Hits to find.
            filter: A condition that all hits meet; None accepts every item.
            exclude: int; item rows that must not be among the hits.

        Returns:
            Fewer than k hits only if fewer items are eligible.

        Raises:
            ValueError: The query is not of the index's dimension, or not finite.
            IndexUnavailable: The index cannot answer.
        """
        ...

    async def search_exact(
        self, query_D: np.ndarray, k: int, *, filter: Filter | None = None, exclude: np.ndarray | None = None
    ) -> Hits:
        """Finds what `search` would find without an approximation, as far as the index can.

        It may be slow and does not block the event loop; it is meant for measurements of recall.
        """
        ...

    def selectivity(self, filter: Filter | None) -> float | None:
        """Returns the share of the items that pass a filter; None if that is not known without a search. It blocks."""
        ...

    def is_prepared(self, filter: Filter) -> bool:
        """Whether a search under this filter takes no pass over all items in this process first. It does not block."""
        ...

    async def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Returns the vectors of items of the index, float32 [len(rows), D]."""
        ...

    async def close(self) -> None:
        """Releases connections and files; the index cannot be used afterwards."""
        ...


def check_query(query_D: np.ndarray, dim: int) -> None:
    """Raises ValueError if a query vector is not finite, or not of the length of the items' vectors."""
    if query_D.shape != (dim,):
        raise ValueError(f"query vector: shape {query_D.shape}, the index holds vectors of dimension {dim}")
    if not np.isfinite(query_D).all():
        raise ValueError("query vector: holds NaN or infinite values")
