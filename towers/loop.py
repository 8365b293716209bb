"""The training loop: one epoch, one step, one objective. Knows neither Ray nor files.

Shape legend: b this worker's batch, B all workers' batch, S uniform negatives, C = B + S candidates, D dimension.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from data.batches import TrainBatch
from towers.losses import LossConfig, LossKind, bilateral_softmax, sampled_softmax
from towers.negatives import accidental_hits, draw_uniform, log_expected_count
from towers.optimizer import Optimizers
from towers.parallel import average_gradients, gather_rows, rank, share_of_all
from towers.two_tower import TwoTower


@dataclass(slots=True)
class Objective:
    """The loss of a batch: sampled softmax of each user vector over the global batch's items and uniform draws.

    Attributes:
        counts_I: interactions of each item row in the whole training part, the same on every worker.
    """

    config: LossConfig
    counts_I: np.ndarray
    _log_q_by_in_batch: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, model: TwoTower, batch: TrainBatch, generator: torch.Generator, device: torch.device) -> Tensor:
        """Scalar loss of this worker's positives, over candidates of all workers; its mean over workers is the whole's.

        Args:
            generator: in the same state on every worker, so that all draw the same uniform negatives.
        """
        user_bD, items_b = positives(model, batch, device)
        drawn_S = self._draw(generator).to(device, torch.int32)
        own_bD, drawn_SD = model.item_vectors(torch.cat([items_b, drawn_S])).split([len(items_b), len(drawn_S)])
        if self.config.in_batch and not self.config.full:
            candidate_CD = torch.cat([gather_rows(own_bD), drawn_SD])
            candidate_C = torch.cat([gather_rows(items_b), drawn_S])
            column_b = torch.arange(len(items_b), device=device) + rank() * len(items_b)
            logits_bC = user_bD @ candidate_CD.T
        else:  # the positive in column 0, then the draws
            candidate_C = torch.cat([items_b.new_zeros(1), drawn_S])
            column_b = torch.zeros(len(items_b), dtype=torch.int64, device=device)
            logits_bC = torch.cat([(user_bD * own_bD).sum(-1, keepdim=True), user_bD @ drawn_SD.T], dim=1)
        loss = self._loss(logits_bC, column_b, items_b, candidate_C, in_batch=len(candidate_C) - len(drawn_S) - 1)
        return loss * share_of_all(len(items_b), device) if batch.item_rows.ndim == 2 else loss

    def _draw(self, generator: torch.Generator) -> Tensor:
        if self.config.full:
            return torch.arange(1, len(self.counts_I))
        return draw_uniform(len(self.counts_I), self.config.num_uniform, generator)

    def _loss(self, logits_bC: Tensor, column_b: Tensor, items_b: Tensor, candidate_C: Tensor, in_batch: int) -> Tensor:
        excluded_bC = accidental_hits(items_b, candidate_C, column_b)
        corrected = self.config.log_q and not self.config.full
        log_q_C = self._log_q(in_batch, logits_bC.device)[candidate_C] if corrected else None
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
    model: TwoTower,
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


def positives(model: TwoTower, batch: TrainBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """User vectors [b, D] and the positive item row of each [b]; every target of a window counts as one."""
    arrays = (batch.user_rows_B, batch.history_BL, batch.item_rows)
    users, history_BL, items = (torch.from_numpy(a).to(device) for a in arrays)
    if items.ndim == 1:
        return model.user_vectors(users, history_BL), items
    there_BL = items > 0
    return model.user_vectors_along(users, history_BL)[there_BL], items[there_BL]
