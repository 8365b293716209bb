"""Stage 2: a user vector's nearest items that pass the filter and are not excluded."""

import numpy as np

from serve.index import ItemIndex
from serve.request import Candidates, Query, Source, UserVector, same_release


class Retriever:
    """One release's item index behind the stage's interface."""

    def __init__(self, release_id: str, index: ItemIndex) -> None:
        self.release_id = release_id
        self.index = index

    async def __call__(self, query: Query, user: UserVector) -> Candidates:
        """Raises IndexUnavailable where the index cannot answer."""
        for other in (query.release_id, user.release_id):
            same_release(self.release_id, other)
        assert user.vector_D is not None, "the pipeline answers users without a vector itself"
        hits = await self.index.search(
            user.vector_D, query.num_candidates, filter=query.filter, exclude=excluded(query, user.history)
        )
        return Candidates(self.release_id, hits.rows, hits.scores, Source.towers)

    async def similar(self, row: int, k: int) -> Candidates:
        """The k items nearest to an item, itself left out."""
        vector_1D = await self.index.vectors(np.array([row]))
        hits = await self.index.search(vector_1D[0], k, exclude=np.array([row]))
        return Candidates(self.release_id, hits.rows, hits.scores, Source.towers)


def excluded(query: Query, history: np.ndarray) -> np.ndarray:
    """Rows that must not be answered: what the query names and, unless it says otherwise, what the user has seen."""
    named = np.array(query.exclude, dtype=np.int64)
    return np.unique(np.concatenate([named, history])) if query.exclude_seen else named
