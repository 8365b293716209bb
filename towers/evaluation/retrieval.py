"""Exact retrieval over the whole catalogue, and what a query may not be shown again.

Shape legend: B queries, I items (row 0 = unknown, never returned), D dimension, K ranks, G blocks of items.
"""

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences

BLOCK = 32
"""Items whose maximum is looked at before they are."""


def top_k(scores_BI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best items by score, ties by lower row: (rows int64 [B, K], scores [B, K]).

    K = min(k, I). Scores of -inf (masked) come last and keep their rows; callers drop them.

    In a large catalogue the k best lie in the k blocks of neighbouring rows with the best maxima, ties by lower block,
    or in what is left over at the end: before an item of another block there are k better ones, those maxima.
    """
    num_items = scores_BI.shape[1]
    num_blocks = num_items // BLOCK
    if num_blocks < 2 * k:
        return _top_k(scores_BI, min(k, num_items))
    blocks_BGb = scores_BI[:, : num_blocks * BLOCK].unflatten(1, (num_blocks, BLOCK))
    best_BG = _top_k(blocks_BGb.amax(2), k)[0].sort(dim=1).values
    rows_BC = (best_BG[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores_BI.device)).flatten(1)
    rest = torch.arange(num_blocks * BLOCK, num_items, device=scores_BI.device)
    rows_BC = torch.cat([rows_BC, rest.expand(len(rows_BC), -1)], dim=1)
    position_BK, scores_BK = _top_k(scores_BI.gather(1, rows_BC), k)
    return rows_BC.gather(1, position_BK), scores_BK


def _top_k(scores_BI: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """top_k by looking at every item."""
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
