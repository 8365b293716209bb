"""The training loop: one epoch, one step, one objective. Knows neither Ray nor files.

Shape legend: b this worker's batch, B all workers' batch, S drawn negatives, C = B + S candidates, D dimension.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from data.sequences.batches import TrainBatch
from towers.model.two_tower import TwoTower
from towers.training.distributed import average_gradients, gather_rows, rank, share_of_all, world_size
from towers.training.losses import LossConfig, LossKind, bilateral_softmax, bpr, sampled_softmax
from towers.training.negatives import draw_popular, draw_uniform, log_expected_count, same_items
from towers.training.optimizer import Optimizers


@dataclass
class Objective:
    """The loss of a batch: sampled softmax of each user vector over the global batch's items and draws.

    Attributes:
        counts_I: how often each item row stands in the log that is fitted on, of all workers; the same on every worker.
        bfloat16: compute the towers in it; the loss is in float32 all the same.
    """

    config: LossConfig
    counts_I: np.ndarray
    bfloat16: bool = False
    _log_q_by_count: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, model: TwoTower, batch: TrainBatch, generator: torch.Generator, device: torch.device) -> Tensor:
        """Scalar loss of this worker's positives, over candidates of all workers; its mean over workers is the whole's.

        Args:
            generator: in the same state on every worker, so that all draw the same negatives.
        """
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            user_bD, items_b = positives(model, batch, device)
            drawn_S = self._draw(generator, len(items_b)).to(device, torch.int32)
            item_CD = model.item_vectors(torch.cat([items_b, drawn_S])).float()
        user_bD, (own_bD, drawn_SD) = user_bD.float(), item_CD.split([len(items_b), len(drawn_S)])
        query_bD = user_bD / self.config.temperature
        positive_b = (query_bD * own_bD).sum(1)
        if self.config.kind is LossKind.bpr:
            loss = bpr(positive_b, (query_bD * drawn_SD).sum(1), items_b == drawn_S)
        elif self.config.in_batch and not self.config.full:
            negative_C, negative_CD = gather_rows(items_b), gather_rows(own_bD)
            loss = self._softmax(
                query_bD, positive_b, items_b, torch.cat([negative_C, drawn_S]), torch.cat([negative_CD, drawn_SD])
            )  # fmt: skip
        else:
            loss = self._softmax(query_bD, positive_b, items_b, drawn_S, drawn_SD)
        return loss * share_of_all(len(items_b), device) if batch.item_rows.ndim == 2 else loss

    def _draw(self, generator: torch.Generator, num_own: int) -> Tensor:
        """Drawn negatives: shared by all workers' positives, or, for BPR, one for each positive."""
        if self.config.full:
            return torch.arange(1, len(self.counts_I))
        if self.config.kind is not LossKind.bpr:
            uniform_S = draw_uniform(len(self.counts_I), self.config.num_uniform, generator)
            return torch.cat([uniform_S, draw_popular(self._cumulative_I, self.config.num_popular, generator)])
        return draw_uniform(len(self.counts_I), num_own * world_size(), generator)[rank() * num_own :][:num_own]

    def _softmax(
        self, query_bD: Tensor, positive_b: Tensor, items_b: Tensor, negative_C: Tensor, negative_CD: Tensor
    ) -> Tensor:
        excluded_2E, log_q_C = same_items(items_b, negative_C), None
        if self.config.log_q and not self.config.full:
            num_in_batch = len(negative_C) - self.config.num_uniform - self.config.num_popular
            by_count = max(num_in_batch - 1, 0) + self.config.num_popular
            log_q_C = self._log_q(by_count, query_bD.device)[negative_C]
        if self.config.kind is LossKind.bilateral:
            return bilateral_softmax(query_bD, positive_b, negative_CD, self.config.exponent, log_q_C, excluded_2E)
        return sampled_softmax(query_bD, positive_b, negative_CD, log_q_C, excluded_2E)

    def _log_q(self, by_count: int, device: torch.device) -> Tensor:
        if by_count not in self._log_q_by_count:
            log_q_I = log_expected_count(self.counts_I, by_count, self.config.num_uniform)
            self._log_q_by_count[by_count] = log_q_I.to(device)
        return self._log_q_by_count[by_count]

    @cached_property
    def _cumulative_I(self) -> Tensor:
        return torch.from_numpy(np.cumsum(self.counts_I)).double()


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
