"""Stage 2, retrieval: the items nearest to a user vector that pass the filter and are not excluded.

Shape legend: D dimension, K items of the answer, N items of both, H nearest items of the history, I item rows.
"""

from dataclasses import dataclass

import numpy as np

from data.sequences.membership import distinct
from serve.index.protocol import ItemIndex
from serve.index.recall_monitor import RecallMonitor, SampledSearch
from serve.pipeline.messages import Candidates, Nearest, Query, SimilarQuery, UserVector, check_same_release
from serve.pipeline.source import Source

HISTORY_LENGTH = 100
"""An explanation considers this many of the latest items of the history."""

SIMILAR_AT_LENGTH = 5
"""Times the items that are asked for, among which similar ones with shorter vectors are looked for."""

NUM_NEAREST = 3
"""An explanation names this many items of the history for each item of the answer."""


@dataclass(frozen=True, slots=True)
class ColdItems:
    """Items without training data, whose vectors are shorter: a user's list is to have few of them.

    Attributes:
        is_cold_I: bool, by item row.
        length: the length of the vectors of cold items; those of other items have length 1.
    """

    is_cold_I: np.ndarray
    length: float

    @classmethod
    def of(cls, counts_I: np.ndarray, length: float) -> "ColdItems | None":
        """The cold items of a release; None if they have unit-length vectors like all other items."""
        return None if length == 1 else cls(counts_I == 0, length)


class Retriever:
    """The item index of one release as a stage of the pipeline.

    Args:
        release_id: The release of the index.
        index: The release's items.
        placed_I: bool, the items of which the item tower knows anything; None means all.
        monitor: Measures the recall of an approximate index on a sample of the searches; None measures nothing.
        cold: The items whose vectors are shorter; None means none.
    """

    def __init__(
        self,
        release_id: str,
        index: ItemIndex,
        monitor: RecallMonitor | None = None,
        placed_I: np.ndarray | None = None,
        cold: ColdItems | None = None,
    ) -> None:
        self.release_id = release_id
        self._cold = cold
        self._placed_I = placed_I
        self.index = index
        self._monitor = monitor

    async def __call__(self, query: Query, user: UserVector) -> Candidates:
        """Returns the query's candidates.

        Raises:
            IndexUnavailable: The index cannot answer.
            WrongRelease: The query or the user vector is of another release.
        """
        for other in (query.release_id, user.release_id):
            check_same_release(self.release_id, other)
        assert user.vector_D is not None, "the pipeline answers users without a vector itself"
        exclude = excluded_rows(query, user)
        hits = await self.index.search(user.vector_D, query.num_candidates, filter=query.filter, exclude=exclude)
        if self._monitor is not None:
            self._monitor.sample(SampledSearch(user.vector_D, query.num_candidates, query.filter, exclude, hits))
        return Candidates(self.release_id, hits.rows, hits.scores, Source.towers)

    async def close(self) -> None:
        """Closes the index, when no request needs the release any more."""
        if self._monitor is not None:
            self._monitor.close()
        await self.index.close()

    def lacks_mask(self, asked: object) -> bool:
        """Whether what is asked for takes a pass over all items first, to tell which ones pass the filter."""
        filter = asked.filter if isinstance(asked, Query | SimilarQuery) else None
        return filter is not None and not self.index.is_prepared(filter)

    async def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Candidates | None:
        """Returns the k items nearest to `vector_D`; if it is None, nearest to the mean of the query's items.

        The query's own items are not among them. Items without training data and known features do not count: all of
        them have the same vector. Returns None if the query has no others. What is similar does not depend on how
        seldom it is taken, so items with shorter vectors count as if these had length 1, as far as they are among the
        first `SIMILAR_AT_LENGTH` times k of the index.
        """
        check_same_release(self.release_id, query.release_id)
        if vector_D is None:
            rows = np.array(query.rows)
            rows = rows if self._placed_I is None else rows[self._placed_I[rows]]
            if not len(rows):
                return None
            vector_D = (await self.index.vectors(rows)).mean(0)
        exclude = np.array([*query.rows, *query.exclude], dtype=np.int64)
        k = query.k if self._cold is None else SIMILAR_AT_LENGTH * query.k
        hits = await self.index.search(vector_D, k, filter=query.filter, exclude=exclude)
        rows, scores = hits.rows, hits.scores
        if self._cold is not None:
            scores = np.where(self._cold.is_cold_I[rows], scores / self._cold.length, scores)
            best_K = np.argsort(-scores, kind="stable")[: query.k]
            rows, scores = rows[best_K], scores[best_K]
        return Candidates(self.release_id, rows, scores, Source.towers)

    async def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Nearest:
        """Returns, for each item, the items of the history of highest cosine with it."""
        history = np.unique(history[-HISTORY_LENGTH:])
        vectors_ND = await self.index.vectors(np.concatenate([rows_K, history]))
        lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        vectors_ND /= np.where(lengths_N1 > 0, lengths_N1, 1)  # an item of which nothing is known may be zero
        cosines_KN = vectors_ND[: len(rows_K)] @ vectors_ND[len(rows_K) :].T
        best_KH = np.argsort(-cosines_KN, axis=1, kind="stable")[:, :NUM_NEAREST]
        return Nearest(history[best_KH], np.take_along_axis(cosines_KN, best_KH, axis=1))


def excluded_rows(query: Query, user: UserVector) -> np.ndarray:
    """Returns the distinct item rows that must not be answered, ascending.

    These are the rows that are denied to everybody, those that the query excludes and, unless the query says otherwise,
    those that the user has seen. An item of the query's `recent` alone is not seen by that: the type of the event
    decides.

    Args:
        user: The query's user: its history is that of the release, then `recent`, then the query's `history`.
    """
    return distinct(np.concatenate([np.array(query.denied, dtype=np.int64), *_left_out(query, user)]))


def num_left_out(query: Query, user: UserVector) -> int:
    """Returns how many items the query excludes or its user has seen, as far as that counts; each item once.

    Args:
        user: see `excluded_rows`.
    """
    return len(distinct(np.concatenate(_left_out(query, user))))


def _left_out(query: Query, user: UserVector) -> list[np.ndarray]:
    excluded = np.array(query.exclude, dtype=np.int64)
    if not query.exclude_seen:
        return [excluded]
    own = len(user.history) - len(query.history)
    num_released = own - len(query.recent) if user.num_released is None else user.num_released
    released = user.history[:num_released] if user.seen is None else user.seen
    named = user.history[own:]
    return [excluded, released, named, np.array(query.seen, dtype=np.int64)]
