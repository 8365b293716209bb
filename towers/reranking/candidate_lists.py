"""The input of the re-ranker.

Shape legend: B queries, K candidates, R recent history items, C context features, D dimension of the towers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CandidateLists:
    """Retrieved candidates of several queries, and what the re-ranker needs to score them.

    Attributes:
        user_BD: float32, user vectors.
        score_BK: float32, retrieval scores.
        rows_BK: int64, item rows; 0 at the end of shorter lists.
        recent_BR: int64, each user's latest items, padded with 0 on the left.
        context_BC: int64, rows of the request's context values (`Context.rows`); 0 where a value is missing or unknown.
            It has no columns where there are no context features.
    """

    user_BD: Tensor
    score_BK: Tensor
    rows_BK: Tensor
    recent_BR: Tensor
    context_BC: Tensor

    @classmethod
    def of(
        cls,
        user_BD: np.ndarray,
        score_BK: np.ndarray,
        rows_BK: np.ndarray,
        recent_BR: np.ndarray,
        context_BC: np.ndarray | None = None,
    ) -> "CandidateLists":
        """The lists from arrays of the same names and shapes.

        Missing candidates (row -1) become row 0 with the lowest score of their list, or 0 where all are missing: as at
        the endpoint, none of them is the best one.
        """
        missing_BK = rows_BK < 0
        lowest_B1 = np.where(missing_BK, np.inf, score_BK).min(1, keepdims=True, initial=np.inf)
        score_BK = np.where(missing_BK, np.where(np.isfinite(lowest_B1), lowest_B1, 0), score_BK)
        rows_BK = np.where(missing_BK, 0, rows_BK)
        context_BC = np.zeros((len(user_BD), 0), np.int64) if context_BC is None else context_BC
        vectors, scores = user_BD.astype(np.float32), score_BK.astype(np.float32)
        return cls(*map(torch.from_numpy, (vectors, scores, rows_BK, recent_BR.astype(np.int64), context_BC)))

    def __getitem__(self, at: slice | Tensor) -> "CandidateLists":
        """Some of the queries, by a slice, a mask or indices."""
        tensors = (self.user_BD, self.score_BK, self.rows_BK, self.recent_BR, self.context_BC)
        return CandidateLists(*(tensor[at] for tensor in tensors))

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.user_BD)
