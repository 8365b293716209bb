"""All negatives that a step draws, from one or several samplers.

Shape legend: S drawn negatives, I items (row 0 = unknown, never drawn).
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from towers.training.negatives import NEGATIVE_SAMPLERS
from towers.training.negatives.log_q import log_expected_count


class NegativeMixture:
    """Negatives that all positives of a step share, and their log q.

    Args:
        num_drawn: how many each sampler draws, by its name; drawn in this order.
        counts_I: int64, interactions of each item row in what is fitted on, over all workers.
    """

    def __init__(self, num_drawn: Mapping[str, int], counts_I: np.ndarray) -> None:
        self._counts_I = counts_I
        self._drawn = [(NEGATIVE_SAMPLERS[name](counts_I), count) for name, count in num_drawn.items()]
        self._log_q: dict[tuple[int, torch.device], Tensor] = {}

    def draw(self, generator: torch.Generator) -> Tensor:
        """int64 [S]: item rows; the same on every worker whose generator is in the same state."""
        drawn = [sampler.draw(count, generator) for sampler, count in self._drawn]
        return torch.cat(drawn) if drawn else torch.zeros(0, dtype=torch.int64)

    def log_q(self, num_in_batch: int, device: torch.device) -> Tensor:
        """float32 [I] on the device: see `log_expected_count`; computed once for each batch size."""
        if (num_in_batch, device) not in self._log_q:
            log_q_I = log_expected_count(self._counts_I, num_in_batch, self._drawn)
            self._log_q[num_in_batch, device] = log_q_I.to(device)
        return self._log_q[num_in_batch, device]
