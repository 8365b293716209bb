"""Samplers of negatives, by the name that the configuration gives them: one file for each.

`loss.num_uniform` and `loss.num_popular` set how many the samplers `uniform` and `popular` draw; `loss.negatives` sets
it for further samplers.

Shape legend: S drawn negatives, I items (row 0 = unknown, never drawn).
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from data.artifacts.registry import Registry

if TYPE_CHECKING:
    import torch

UNIFORM, POPULAR = "uniform", "popular"


class NegativeSampler(ABC):
    """Draws item rows that serve as negatives of a whole batch, and knows how often to expect each item.

    A subclass registers itself with `@NEGATIVE_SAMPLERS.register(name)`.

    Args:
        counts_I: int64, interactions of each item row in what is fitted on, over all workers.
    """

    def __init__(self, counts_I: np.ndarray) -> None:
        self.counts_I = counts_I

    @abstractmethod
    def draw(self, count: int, generator: "torch.Generator") -> "torch.Tensor":
        """int64 [count]: item rows from 1 to I - 1; the same rows for a generator in the same state."""

    @abstractmethod
    def expected_counts(self, count: int) -> np.ndarray:
        """float64 [I]: how often each item is expected among `count` draws; above 0 for items that can be drawn.

        The log q correction sums these over all sources of negatives (towers/training/negatives/log_q.py).
        """


NEGATIVE_SAMPLERS: Registry[type[NegativeSampler]] = Registry("loss.negatives", __name__)
