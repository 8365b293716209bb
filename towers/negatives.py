"""Which candidates a positive is compared with, and how likely each was to be drawn.

Shape legend: B batch (all workers), S uniform draws, C = B + S candidates, I items (row 0 = unknown, never drawn).
"""

import numpy as np
import torch
from torch import Tensor


def draw_uniform(num_items: int, count: int, generator: torch.Generator) -> Tensor:
    """int64 [count]: item rows 1..num_items - 1, uniformly, with replacement."""
    return torch.randint(1, num_items, (count,), generator=generator)


def log_expected_count(counts_I: np.ndarray, in_batch: int, num_uniform: int) -> Tensor:
    """log q: log of how often each item is expected among a positive's negatives, float32 [I].

    Negatives are `in_batch` items drawn as the log has them (the batch's other positives) and `num_uniform` drawn
    uniformly, so the expected count is the sum of both; an item that can never be drawn gets that of one interaction.
    """
    share_I = np.maximum(counts_I, 1) / max(counts_I.sum(), 1)
    expected_I = in_batch * share_I + num_uniform / max(len(counts_I) - 1, 1)
    return torch.from_numpy(np.log(expected_I).astype(np.float32))


def accidental_hits(positive_rows_B: Tensor, candidate_rows_C: Tensor, own_column_B: Tensor) -> Tensor:
    """bool [B, C]: candidates that are the row's positive item again, elsewhere than in its own column."""
    same_BC = positive_rows_B[:, None] == candidate_rows_C[None, :]
    return same_BC.scatter(1, own_column_B[:, None], False)
