"""Exact retrieval over the whole catalogue, and what a query may not be shown again.

Shape legend: B queries, I items (row 0 = unknown, never returned), D dimension, K ranks.
"""

import numpy as np
import torch
from torch import Tensor

from data.batches import Sequences


def top_k(scores_BI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best items by score, ties by lower row: (rows int64 [B, K], scores [B, K]).

    K = min(k, I). Scores of -inf (masked) come last and keep their rows; callers drop them.
    """
    k = min(k, scores_BI.shape[1])
    scores_BK, rows_BK = scores_BI.topk(k, dim=1)
    lowest_B1 = scores_BK[:, -1:]
    torn = ((scores_BI == lowest_B1).sum(1) > (scores_BK == lowest_B1).sum(1)).nonzero().flatten()
    if len(torn):  # a tie across the boundary: which of the tied rows topk kept is not defined
        sorted_scores, order = scores_BI[torn].sort(dim=1, descending=True, stable=True)
        scores_BK[torn], rows_BK[torn] = sorted_scores[:, :k], order[:, :k]
    by_row = rows_BK.argsort(dim=1)
    rows_BK, scores_BK = rows_BK.gather(1, by_row), scores_BK.gather(1, by_row)
    by_score = scores_BK.argsort(dim=1, descending=True, stable=True)
    return rows_BK.gather(1, by_score), scores_BK.gather(1, by_score)


def mask_seen(scores_BI: Tensor, seen: Sequences, user_rows_B: np.ndarray) -> Tensor:
    """Sets the scores of row 0 and of each user's seen items to -inf, in place."""
    owner, items = seen.of_users(user_rows_B)
    scores_BI[:, 0] = -torch.inf
    scores_BI[torch.from_numpy(owner), torch.from_numpy(items.astype(np.int64))] = -torch.inf
    return scores_BI
