"""Negatives drawn in proportion to their interactions."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from towers.training.negatives import NEGATIVE_SAMPLERS, POPULAR, NegativeSampler


@NEGATIVE_SAMPLERS.register(POPULAR)
class PopularSampler(NegativeSampler):
    """Each item is drawn with its share of all interactions; with replacement."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """int64 [count]; items without interactions are never drawn."""
        share_S = 1 - torch.rand(count, generator=generator, dtype=torch.float64)  # float32 reaches 2**24 places only
        drawn_S = self._cumulative_I[-1] * share_S
        return torch.searchsorted(self._cumulative_I, drawn_S)

    def expected_counts(self, count: int) -> np.ndarray:
        """float64 [I]: count * interactions of the item (at least 1) / interactions of all items."""
        return count * (np.maximum(self.counts_I, 1) / max(self.counts_I.sum(), 1))

    @cached_property
    def _cumulative_I(self) -> Tensor:
        """float64 [I]: the number of interactions of all rows up to and including each row."""
        return torch.from_numpy(np.cumsum(self.counts_I)).double()
