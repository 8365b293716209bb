"""The training loop: one epoch, one step, one objective. Knows neither Ray nor files.

Shape legend: b this worker's batch, B all workers' batch, S uniform negatives, C = B + S candidates, D dimension.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from data.batches import TrainBatch
from towers.losses import LossConfig, LossKind, bilateral_softmax, sampled_softmax
from towers.negatives import accidental_hits, draw_uniform, log_expected_count
from towers.optimizer import Optimizers
from towers.parallel import average_gradients, gather_rows, rank


@dataclass(slots=True)
class Objective:
    """The loss of a batch: sampled softmax of each user vector over the global batch's items and uniform draws.

    Attributes:
        counts_I: interactions of each item row in the whole training part, the same on every worker.
    """

    config: LossConfig
    counts_I: np.ndarray
    _log_q_by_in_batch: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, model: nn.Module, batch: TrainBatch, generator: torch.Generator, device: torch.device) -> Tensor:
        """Scalar loss of this worker's rows, over candidates of all workers.

        Args:
            generator: in the same state on every worker, so that all draw the same uniform negatives.
        """
        users_b, history_bL, items_b = (torch.from_numpy(a).to(device) for a in _arrays(batch))
        uniform_S = draw_uniform(len(self.counts_I), self.config.num_uniform, generator).to(device, torch.int32)
        user_bD, item_cD = model(users_b, history_bL, torch.cat([items_b, uniform_S]))
        own_bD, uniform_SD = item_cD[: len(items_b)], item_cD[len(items_b) :]
        if self.config.in_batch:
            candidate_CD = torch.cat([gather_rows(own_bD), uniform_SD])
            candidate_C = torch.cat([gather_rows(items_b), uniform_S])
            column_b = torch.arange(len(items_b), device=device) + rank() * len(items_b)
            logits_bC = user_bD @ candidate_CD.T
        else:  # the positive in column 0, then the draws
            candidate_C = torch.cat([items_b.new_zeros(1), uniform_S])
            column_b = torch.zeros(len(items_b), dtype=torch.int64, device=device)
            logits_bC = torch.cat([(user_bD * own_bD).sum(-1, keepdim=True), user_bD @ uniform_SD.T], dim=1)
        excluded_bC = accidental_hits(items_b, candidate_C, column_b)
        log_q_I = self._log_q(len(candidate_C) - len(uniform_S) - 1, device) if self.config.log_q else None
        log_q_C = None if log_q_I is None else log_q_I[candidate_C]
        logits_bC = logits_bC / self.config.temperature
        if self.config.kind is LossKind.bilateral:
            return bilateral_softmax(logits_bC, column_b, self.config.exponent, log_q_C, excluded_bC)
        return sampled_softmax(logits_bC, column_b, log_q_C, excluded_bC)

    def _log_q(self, in_batch: int, device: torch.device) -> Tensor:
        if in_batch not in self._log_q_by_in_batch:
            log_q_I = log_expected_count(self.counts_I, in_batch, self.config.num_uniform)
            self._log_q_by_in_batch[in_batch] = log_q_I.to(device)
        return self._log_q_by_in_batch[in_batch]


def train_epoch(
    model: nn.Module,
    optimizers: Optimizers,
    objective: Objective,
    batches: Iterable[TrainBatch],
    generator: torch.Generator,
    device: torch.device,
    rates: Iterable[float],
) -> Iterator[float]:
    """Trains on each batch and yields its loss (nats per positive).

    Args:
        rates: each step's share of the learning rate.
    """
    model.train()
    for batch, rate in zip(batches, rates, strict=False):
        loss = objective(model, batch, generator, device)
        optimizers.zero_grad()
        loss.backward()
        average_gradients(model.parameters())
        optimizers.at(rate)
        optimizers.step()
        yield loss.item()


def _arrays(batch: TrainBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return batch.user_rows_B, batch.history_BL, batch.item_rows_B
