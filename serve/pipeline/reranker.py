"""Stage 3: candidates in their final order."""

from collections.abc import Sequence

import numpy as np
import torch

from serve.pipeline.messages import Candidates, Query, Ranked, UserVector, same_release
from serve.pipeline.micro_batcher import Batcher
from towers.checkpoint.checkpoint import Checkpoint
from towers.reranking.reranker import RECENT, Lists, order

TOGETHER = 16
"""Queries re-ranked in one call: more of them leave a core's cache and gain nothing."""


class RerankStage:
    """The re-ranker of one release, over the candidates of the queries that wait at the same time."""

    def __init__(self, release_id: str, parts: Checkpoint) -> None:
        self.release_id = release_id
        self._reranker = parts.reranker
        if self._reranker.deep is not None:
            self._reranker.deep.item_features.settle()
        self._batched = Batcher(self.rank_all, most=TOGETHER)

    async def __call__(self, query: Query, user: UserVector, candidates: Candidates) -> Ranked:
        for other in (query.release_id, user.release_id, candidates.release_id):
            same_release(self.release_id, other)
        return await self._batched((query, user, candidates))

    @torch.inference_mode()
    def rank_all(self, asked: Sequence[tuple[Query, UserVector, Candidates]]) -> list[Ranked]:
        """The candidates of several queries, each in its final order.

        Raises:
            FloatingPointError: the re-ranker gives scores that are not finite.
        """
        lengths = [len(candidates.rows_K) for _, _, candidates in asked]
        rows_BK, scores_BK = (np.zeros((len(asked), max(lengths)), dtype=t) for t in (np.int64, np.float32))
        recent_BR = np.zeros((len(asked), RECENT), dtype=np.int64)
        for at, ((_, user, candidates), length) in enumerate(zip(asked, lengths, strict=True)):
            rows_BK[at, :length] = candidates.rows_K
            scores_BK[at, :length], scores_BK[at, length:] = candidates.scores_K, candidates.scores_K[-1]
            latest = user.history[-RECENT:]
            recent_BR[at, RECENT - len(latest) :] = latest
        user_BD = np.stack([user.vector_D for _, user, _ in asked])  # type: ignore[misc]  # candidates come of a vector
        context_BC = np.array([query.context for query, _, _ in asked], dtype=np.int64)
        ranked_BK = self._reranker(Lists.of(user_BD, scores_BK, rows_BK, recent_BR, context_BC)).numpy()
        if not np.isfinite(ranked_BK).all():
            raise FloatingPointError("re-ranker: NaN or infinite scores")
        return [
            self._ordered(rows_K[:length], ranked_K[:length])
            for rows_K, ranked_K, length in zip(rows_BK, ranked_BK, lengths, strict=True)
        ]

    def _ordered(self, rows_K: np.ndarray, scores_K: np.ndarray) -> Ranked:
        by_K = order(scores_K, rows_K)
        return Ranked(self.release_id, rows_K[by_K], scores_K[by_K])
