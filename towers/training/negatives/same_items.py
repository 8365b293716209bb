"""Accidental hits: negatives that are the positive itself.

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
