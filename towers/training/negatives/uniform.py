"""Negatives drawn uniformly from the items with training data."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from towers.training.negatives import NEGATIVE_SAMPLERS, UNIFORM, NegativeSampler


@NEGATIVE_SAMPLERS.register(UNIFORM)
class UniformSampler(NegativeSampler):
    """Every item with training data is as likely as any other; with replacement.

    Items without training data are never positives. As negatives they would only be pushed away from every user, and
    with them the unknown id and the feature values by which new items are recommended. In a temporal log they did not
    exist yet.
    """

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """int64 [count]: item rows, drawn with replacement."""
        return self._rows[torch.randint(len(self._rows), (count,), generator=generator)]

    def expected_counts(self, count: int) -> np.ndarray:
        """float64 [I]: count / number of items with training data for each of those, 0 for the others."""
        return (self.counts_I > 0) * (count / max(len(self._rows), 1))

    @cached_property
    def _rows(self) -> Tensor:
        """int64: the rows of the items with training data."""
        return torch.from_numpy(np.flatnonzero(self.counts_I > 0))
