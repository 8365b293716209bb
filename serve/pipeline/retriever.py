"""Stage 2: a user vector's nearest items that pass the filter and are not excluded."""

import numpy as np

from serve.index.protocol import ItemIndex
from serve.index.recall_monitor import Checked, RecallMonitor
from serve.pipeline.messages import Candidates, Nearest, Query, SimilarQuery, UserVector, same_release
from serve.pipeline.source import Source

LOOKED_BACK, SHOWN = 100, 3
"""An explanation looks at so many latest items of the history, and shows so many of them per item."""


class Retriever:
    """One release's item index behind the stage's interface."""

    def __init__(self, release_id: str, index: ItemIndex, monitor: RecallMonitor | None = None) -> None:
        self.release_id = release_id
        self.index = index
        self._monitor = monitor

    async def __call__(self, query: Query, user: UserVector) -> Candidates:
        """Raises IndexUnavailable where the index cannot answer."""
        for other in (query.release_id, user.release_id):
            same_release(self.release_id, other)
        assert user.vector_D is not None, "the pipeline answers users without a vector itself"
        exclude = excluded(query, user.history)
        hits = await self.index.search(user.vector_D, query.num_candidates, filter=query.filter, exclude=exclude)
        if self._monitor is not None:
            self._monitor.offer(Checked(user.vector_D, query.num_candidates, query.filter, exclude, hits))
        return Candidates(self.release_id, hits.rows, hits.scores, Source.towers)

    async def similar(self, query: SimilarQuery, vector_D: np.ndarray | None) -> Candidates:
        """The k items nearest to `vector_D`, or else to the mean of the query's items, which are left out."""
        same_release(self.release_id, query.release_id)
        if vector_D is None:
            vector_D = (await self.index.vectors(np.array(query.rows))).mean(0)
        exclude = np.array([*query.rows, *query.exclude], dtype=np.int64)
        hits = await self.index.search(vector_D, query.k, filter=query.filter, exclude=exclude)
        return Candidates(self.release_id, hits.rows, hits.scores, Source.towers)

    async def nearest(self, rows_K: np.ndarray, history: np.ndarray) -> Nearest:
        """For each item those of a history that are nearest to it, the nearest first."""
        history = np.unique(history[-LOOKED_BACK:])
        vectors_ND = await self.index.vectors(np.concatenate([rows_K, history]))
        vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        cosines_KN = vectors_ND[: len(rows_K)] @ vectors_ND[len(rows_K) :].T
        best_KH = np.argsort(-cosines_KN, axis=1, kind="stable")[:, :SHOWN]
        return Nearest(history[best_KH], np.take_along_axis(cosines_KN, best_KH, axis=1))


def excluded(query: Query, history: np.ndarray) -> np.ndarray:
    """Rows that must not be answered: what the query names and, unless it says otherwise, what the user has seen."""
    named = np.array(query.exclude, dtype=np.int64)
    return np.unique(np.concatenate([named, history])) if query.exclude_seen else named
