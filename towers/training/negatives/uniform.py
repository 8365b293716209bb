"""Negatives drawn uniformly from the catalogue."""

import numpy as np
import torch
from torch import Tensor

from towers.training.negatives import NEGATIVE_SAMPLERS, UNIFORM, NegativeSampler


@NEGATIVE_SAMPLERS.register(UNIFORM)
class UniformSampler(NegativeSampler):
    """Every item is as likely as any other; with replacement."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """int64 [count]."""
        return torch.randint(1, len(self.counts_I), (count,), generator=generator)

    def expected_counts(self, count: int) -> np.ndarray:
        """float64 [I]: count / (I - 1) for every item."""
        return np.full(len(self.counts_I), count / max(len(self.counts_I) - 1, 1))
