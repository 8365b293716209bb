"""Stage 3, re-ranking: the candidates of a query in their final order.

Shape legend: B queries, K candidates (the longest list; shorter ones are padded), R recent items, C context columns,
D dimension, A goals.
"""

from collections.abc import Sequence

import numpy as np
import torch

from serve.index.micro_batcher import MicroBatcher
from serve.pipeline.messages import Candidates, Query, Ranked, UserVector, check_same_release
from towers.checkpoint.checkpoint import Checkpoint
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.reranker import RECENT

MAX_BATCH_SIZE = 16
"""Queries re-ranked in one call; larger batches no longer fit into a core's cache and gain nothing."""


class RerankStage:
    """The re-ranker of one release as a stage of the pipeline; it ranks queries that wait at the same time together."""

    def __init__(self, release_id: str, parts: Checkpoint) -> None:
        self.release_id = release_id
        self._reranker, self._ties = parts.reranker, parts.ties
        if self._reranker.deep is not None:
            self._reranker.deep.item_features.precompute()
        self._batched = MicroBatcher(self.rank_all, max_batch_size=MAX_BATCH_SIZE)

    async def __call__(self, query: Query, user: UserVector, candidates: Candidates) -> Ranked:
        """Returns the candidates in their final order.

        Raises:
            FloatingPointError: The re-ranker gives scores that are not finite.
            WrongRelease: One of the messages is of another release.
        """
        for other in (query.release_id, user.release_id, candidates.release_id):
            check_same_release(self.release_id, other)
        return await self._batched((query, user, candidates))

    @torch.inference_mode()
    def rank_all(self, queries: Sequence[tuple[Query, UserVector, Candidates]]) -> list[Ranked]:
        """Returns the candidates of several queries, each list in its final order.

        Raises:
            FloatingPointError: The re-ranker gives scores that are not finite.
        """
        lengths = [len(candidates.rows_K) for _, _, candidates in queries]
        ranked_BK = self._reranker(_padded(queries, lengths), self._goal_weights(queries)).numpy()
        if not np.isfinite(ranked_BK).all():
            raise FloatingPointError("re-ranker: NaN or infinite scores")
        return [
            self._ordered(candidates.rows_K, ranked_K[:length])
            for (_, _, candidates), ranked_K, length in zip(queries, ranked_BK, lengths, strict=True)
        ]

    def _goal_weights(self, queries: Sequence[tuple[Query, UserVector, Candidates]]) -> torch.Tensor | None:
        """Returns how much each goal counts in each query, float32 [B, A]; None where none has its own weights."""
        if not any(query.goals for query, _, _ in queries):
            return None
        usual = tuple(self._reranker.goal_weights.values())
        return torch.tensor([query.goals or usual for query, _, _ in queries], dtype=torch.float32)

    def _ordered(self, rows_K: np.ndarray, scores_K: np.ndarray) -> Ranked:
        by_score_K = self._ties.best_first(rows_K, scores_K)
        return Ranked(self.release_id, rows_K[by_score_K], scores_K[by_score_K])


def _padded(queries: Sequence[tuple[Query, UserVector, Candidates]], lengths: Sequence[int]) -> CandidateLists:
    """Returns the re-ranker's input: lists of candidates padded with row 0 and with the score of their last one."""
    shape = (len(queries), max(lengths))
    rows_BK, scores_BK = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    recent_BR = np.zeros((len(queries), RECENT), dtype=np.int64)
    for number, ((_, user, candidates), length) in enumerate(zip(queries, lengths, strict=True)):
        rows_BK[number, :length] = candidates.rows_K
        scores_BK[number, :length], scores_BK[number, length:] = candidates.scores_K, candidates.scores_K[-1]
        latest = user.history[-RECENT:]
        recent_BR[number, RECENT - len(latest) :] = latest
    user_BD = np.stack([user.vector_D for _, user, _ in queries])  # type: ignore[misc]  # users with candidates have one
    context_BC = np.array([query.context for query, _, _ in queries], dtype=np.int64)
    return CandidateLists.of(user_BD, scores_BK, rows_BK, recent_BR, context_BC)
