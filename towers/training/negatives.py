"""Which candidates a positive is compared with, and how likely each was to be drawn.

Shape legend: B positives, C candidates, I items (row 0 = unknown, never drawn), E pairs.
"""

import numpy as np
import torch
from torch import Tensor


def draw_uniform(num_items: int, count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: item rows 1..num_items - 1, uniformly, with replacement."""
    return torch.randint(1, num_items, (count,), generator=generator)


def draw_popular(cumulative_I: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: item rows drawn as often as the log has them, with replacement.

    Args:
        cumulative_I: float64 [I], interactions of all rows up to and with each; row 0 has none.
    """
    return torch.searchsorted(cumulative_I, cumulative_I[-1] * (1 - torch.rand(count, generator=generator).double()))


def log_expected_count(counts_I: np.ndarray, num_by_count: int, num_uniform: int) -> Tensor:
    """log q: log of how often each item is expected among a positive's negatives, float32 [I].

    Negatives are `num_by_count` items that come as often as the log has them (the batch's other positives, and popular
    draws) and `num_uniform` drawn uniformly, so the expected count is the sum of both; an item that can never be drawn
    gets that of one interaction.
    """
    share_I = np.maximum(counts_I, 1) / max(counts_I.sum(), 1)
    expected_I = num_by_count * share_I + num_uniform / max(len(counts_I) - 1, 1)
    return torch.from_numpy(np.log(expected_I).astype(np.float32))


def same_items(positive_rows_B: Tensor, candidate_rows_C: Tensor) -> Tensor:
    """int64 [2, E]: the pairs (positive, candidate) that are one item, ordered by positive.

    A positive's own place among the candidates is one of them; the others are accidental hits.
    """
    sorted_C, order_C = candidate_rows_C.sort(stable=True)
    first_B = torch.searchsorted(sorted_C, positive_rows_B)
    count_B = torch.searchsorted(sorted_C, positive_rows_B, right=True) - first_B
    pair_E = torch.repeat_interleave(count_B)
    within_E = torch.arange(len(pair_E), device=pair_E.device) - (count_B.cumsum(0) - count_B)[pair_E]
    return torch.stack([pair_E, order_C[first_B[pair_E] + within_E]])
