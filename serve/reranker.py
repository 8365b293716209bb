"""Stage 3: candidates in their final order."""

import numpy as np
import torch

from serve.request import Candidates, Ranked, UserVector, same_release
from towers.checkpoint import Checkpoint
from towers.reranker import RECENT, Lists, order


class RerankStage:
    """The re-ranker of one release, over one query's candidates."""

    def __init__(self, release_id: str, parts: Checkpoint) -> None:
        self.release_id = release_id
        self._reranker = parts.reranker

    async def __call__(self, user: UserVector, candidates: Candidates) -> Ranked:
        for other in (user.release_id, candidates.release_id):
            same_release(self.release_id, other)
        return self._rank(user, candidates)

    @torch.inference_mode()
    def _rank(self, user: UserVector, candidates: Candidates) -> Ranked:
        assert user.vector_D is not None, "candidates come of a user vector"
        rows_1K = candidates.rows_K[None]
        recent = np.zeros((1, RECENT), dtype=np.int64)
        latest = user.history[-RECENT:]
        recent[0, RECENT - len(latest) :] = latest
        lists = Lists.of(user.vector_D[None], candidates.scores_K[None], rows_1K, recent)
        scores_1K = self._reranker(lists).numpy()
        by_K = order(scores_1K, rows_1K)[0]
        return Ranked(self.release_id, rows_1K[0][by_K], scores_1K[0][by_K])
