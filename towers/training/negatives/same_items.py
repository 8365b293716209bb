"""Accidental hits: negatives that are the positive itself, and positives that no other negative is left for.

Shape legend: B positives, C candidates, E pairs.
"""

import torch
from torch import Tensor


def same_items(positive_rows_B: Tensor, candidate_rows_C: Tensor) -> Tensor:
    """int64 [2, E]: the pairs (positive, candidate) of the same item, as indices, ordered by positive.

    If the positive is itself among the candidates, that pair is one of them; the others are accidental hits.
    """
    sorted_C, order_C = candidate_rows_C.sort(stable=True)
    first_B = torch.searchsorted(sorted_C, positive_rows_B)
    count_B = torch.searchsorted(sorted_C, positive_rows_B, right=True) - first_B
    pair_E = torch.repeat_interleave(count_B)
    within_E = torch.arange(len(pair_E), device=pair_E.device) - (count_B.cumsum(0) - count_B)[pair_E]
    return torch.stack([pair_E, order_C[first_B[pair_E] + within_E]])


def have_negatives(excluded_2E: Tensor | None, positive_B: Tensor, num_candidates: int) -> Tensor:
    """bool [B]: whether a positive has a candidate that is not excluded. One without any cannot be learnt from.

    Args:
        excluded_2E: the pairs (positive, candidate) that do not count, each once; None means that there are none.
        positive_B: one value for each positive; only its length and its device matter.
        num_candidates: C.
    """
    num_excluded_B = torch.zeros(len(positive_B), dtype=torch.int64, device=positive_B.device)
    if excluded_2E is not None:
        num_excluded_B.index_add_(0, excluded_2E[0], torch.ones_like(excluded_2E[0]))
    return num_excluded_B < num_candidates
