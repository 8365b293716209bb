"""The training loop of one epoch, and the objective of a batch. This module uses neither Ray nor files.

Shape legend: b this worker's positives, B all workers' positives, S drawn negatives, C = S or B + S negatives, I items
(row 0 = unknown), D dimension.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from data.sequences.batches import TrainBatch
from towers.model.two_tower import TwoTower
from towers.training.distributed import average_gradients, gather_rows, global_weight, rank, world_size
from towers.training.epochs.finite import FiniteSteps, check_weights
from towers.training.losses import LOSSES
from towers.training.losses.config import LossConfig
from towers.training.negatives.mixture import NegativeMixture
from towers.training.negatives.same_items import have_negatives, same_items
from towers.training.negatives.uniform import UniformSampler
from towers.training.optimizer import Optimizers


class Objective:
    """The configured loss of a batch. The number of workers does not change it.

    Args:
        counts_I: int64, interactions of each item row in what is fitted on, over all workers; the same on every worker.
        bfloat16: compute the towers in bfloat16; the loss is computed in float32 in any case.
    """

    def __init__(self, config: LossConfig, counts_I: np.ndarray, bfloat16: bool = False) -> None:
        self.config = config
        self.bfloat16 = bfloat16
        self._loss = LOSSES[config.kind]()
        self._fitted_rows = torch.from_numpy(np.flatnonzero(counts_I > 0))
        self._mixture = NegativeMixture(config.num_drawn, counts_I)
        self._uniform = UniformSampler(counts_I)

    def __call__(self, model: TwoTower, batch: TrainBatch, generator: torch.Generator, device: torch.device) -> Tensor:
        """Scalar loss of this worker's positives, in nats; its mean over the workers is the loss of the whole batch.

        Args:
            generator: in the same state on every worker, so that all draw the same negatives.
        """
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            user_bD, items_b = user_vectors_and_positives(model, batch, device)
            drawn_S = self._draw(generator, len(items_b)).to(device, torch.int32)
            item_CD = model.item_vectors(torch.cat([items_b, drawn_S])).float()
        own_bD, drawn_SD = item_CD.split([len(items_b), len(drawn_S)])
        query_bD = user_bD.float() / self.config.temperature
        return self._contrast(query_bD, items_b, own_bD, drawn_S, drawn_SD)

    def _draw(self, generator: torch.Generator, num_positives: int) -> Tensor:
        """int64 [S]: rows of all fitted items, of negatives that all workers share, or of one negative per positive."""
        if self.config.full:
            return self._fitted_rows
        if self._loss.shares_negatives:
            return self._mixture.draw(generator)
        return self._uniform.draw(num_positives * world_size(), generator)[rank() * num_positives :][:num_positives]

    def _contrast(self, query_bD: Tensor, items_b: Tensor, own_bD: Tensor, drawn_S: Tensor, drawn_SD: Tensor) -> Tensor:
        """The loss of queries and their positives against drawn negatives and, if configured, in-batch ones."""
        negative_C, negative_CD, log_q_C, num_in_batch = drawn_S, drawn_SD, None, 0
        if not self._loss.shares_negatives:
            pair_E = (items_b == drawn_S).nonzero().flatten()
            excluded_2E = torch.stack([pair_E, pair_E])
        else:
            if self.config.in_batch and not self.config.full:
                all_items_B = gather_rows(items_b)
                num_in_batch = len(all_items_B) - 1
                negative_C = torch.cat([all_items_B, drawn_S])
                negative_CD = torch.cat([gather_rows(own_bD), drawn_SD])
            excluded_2E = same_items(items_b, negative_C)
            if self.config.log_q and not self.config.full:
                log_q_C = self._mixture.log_q(num_in_batch, query_bD.device)[negative_C]
        positive_b = (query_bD * own_bD).sum(1)
        loss = self._loss(query_bD, positive_b, negative_CD, log_q_C, excluded_2E, self.config)
        num_candidates = len(negative_C) if self._loss.shares_negatives else 1
        return loss * global_weight(have_negatives(excluded_2E, positive_b, num_candidates).sum())


def user_vectors_and_positives(model: TwoTower, batch: TrainBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """User vectors [b, D], and the item row of each one's positive [b]; every target of a window is a positive."""
    arrays = (batch.user_rows_B, batch.history_BL, batch.item_rows)
    users, history_BL, items = (torch.from_numpy(a).to(device) for a in arrays)
    if items.ndim == 1:
        return model.user_vectors(users, history_BL), items
    is_target_BL = items > 0
    return model.user_vectors_at_each_position(users, history_BL)[is_target_BL], items[is_target_BL]


def train_epoch(
    model: TwoTower,
    optimizers: Optimizers,
    objective: Objective,
    batches: Iterable[TrainBatch],
    generator: torch.Generator,
    device: torch.device,
    rates: Iterable[float],
) -> Iterator[Tensor]:
    """Trains on each batch and yields its loss (nats per positive), a scalar that stays on the device.

    Args:
        generator: draws the negatives; in the same state on every worker.
        rates: each step's share of the configured learning rate.

    Raises:
        NotFinite: the loss, the gradient or, after the last step, a weight is not finite. The message names the step.
    """
    model.train()
    steps = FiniteSteps(model, device)
    for batch, rate in zip(batches, rates, strict=False):
        loss = objective(model, batch, generator, device)
        optimizers.zero_grad()
        loss.backward()
        average_gradients(model.parameters())
        steps.watch(loss)
        optimizers.scale_learning_rate(rate)
        optimizers.step()
        yield loss.detach()
    steps.look()
    check_weights(model)
