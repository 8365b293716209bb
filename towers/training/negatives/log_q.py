"""The log q correction: how often each item is expected among the negatives of a positive.

Shape legend: I items (row 0 = unknown, never drawn).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from towers.training.negatives import NegativeSampler
from towers.training.negatives.popular import PopularSampler


def log_expected_count(counts_I: np.ndarray, num_in_batch: int, drawn: Sequence[tuple[NegativeSampler, int]]) -> Tensor:
    """log q: log of how often each item is expected among a positive's negatives, float32 [I].

    The expected count is the sum over all sources of negatives; `sampled_softmax` explains what it corrects. In-batch
    negatives are the positives of other examples, so an item is among them in proportion to its interactions. An item
    without interactions counts as if it had one.

    Args:
        counts_I: int64, interactions of each item row in what is fitted on.
        num_in_batch: in-batch negatives of each positive: the other positives of the batch, of all workers.
        drawn: samplers, and the number of negatives that each draws.
    """
    expected_I = PopularSampler(counts_I).expected_counts(num_in_batch)
    for sampler, count in drawn:
        expected_I = expected_I + sampler.expected_counts(count)
    return torch.from_numpy(np.log(np.maximum(expected_I, np.finfo(np.float64).tiny)).astype(np.float32))
