"""The training loop of one epoch, and the objective of a batch. This module uses neither Ray nor files.

Shape legend: b this worker's positives, B all workers' positives, S drawn negatives, C = S or B + S negatives, I items
(row 0 = unknown), D dimension.
"""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from data.artifacts.errors import ConfigError
from data.sequences.batches import TrainBatch
from towers.model.history.moments import Moments
from towers.model.two_tower import TwoTower
from towers.training.distributed import (
    average_gradients,
    gather_rows,
    global_weight,
    rank,
    replicated_parameters,
    world_size,
)
from towers.training.epochs.finite import FiniteSteps, check_weights
from towers.training.losses import LOSSES
from towers.training.losses.config import LossConfig
from towers.training.negatives.mixture import NegativeMixture
from towers.training.negatives.same_items import OwnItems, have_negatives, same_items
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
        self._takes_weights = "weight_B" in inspect.signature(self._loss.__call__).parameters
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
            unwanted = unwanted_items(batch, device) if self.config.explicit else None
            rows = [items_b, drawn_S, *([] if unwanted is None else [unwanted.item_rows_b])]
            own_bD, drawn_SD, *unwanted_bD = model.item_vectors(torch.cat(rows)).float().split([len(r) for r in rows])
        query_bD = user_bD.float() / self.config.temperature
        weight_b = of_positives(batch.weights, batch, device) if self.config.weighted else None
        if weight_b is not None and not self._takes_weights:
            raise ConfigError(
                f"loss.kind: {self.config.kind} takes no weights, and the log's interactions have some; set"
                " loss.weighted=false, or give the loss the argument weight_B"
            )
        users_items = OwnItems.of(batch, items_b)
        loss = self._contrast(query_bD, items_b, own_bD, drawn_S, drawn_SD, weight_b, users_items)
        if unwanted is not None:
            margin_b = (query_bD * (unwanted_bD[0] - own_bD)).sum(1)
            loss = loss + self.config.explicit * self._explicit(margin_b, items_b, unwanted, weight_b)
        return loss

    def _explicit(
        self, margin_b: Tensor, items_b: Tensor, unwanted: "ExplicitNegativeRows", weight_b: Tensor | None
    ) -> Tensor:
        """Weighted mean over all positives of -log sigmoid(positive - negative), for negatives of the same user.

        It is the pairwise loss of Rendle et al. (2009) with an explicit negative. A positive whose user
        has none, or whose own item was drawn, adds zero.

        Args:
            margin_b: score of the negative minus that of the positive, divided by the temperature.
        """
        weight_b = torch.ones_like(margin_b) if weight_b is None else weight_b
        counts_b = weight_b * unwanted.weights_b * (unwanted.item_rows_b != items_b)
        total = weight_b.sum()
        mean = (functional.softplus(margin_b) * counts_b).sum() / total.clamp_min(torch.finfo(total.dtype).tiny)
        return mean * global_weight(total)

    def _draw(self, generator: torch.Generator, num_positives: int) -> Tensor:
        """int64 [S]: rows of all fitted items, of negatives that all workers share, or of one negative per positive."""
        if self.config.full:
            return self._fitted_rows
        if self._loss.shares_negatives:
            return self._mixture.draw(generator)
        return self._uniform.draw(num_positives * world_size(), generator)[rank() * num_positives :][:num_positives]

    def _contrast(
        self,
        query_bD: Tensor,
        items_b: Tensor,
        own_bD: Tensor,
        drawn_S: Tensor,
        drawn_SD: Tensor,
        weight_b: Tensor | None,
        users_items: OwnItems | None,
    ) -> Tensor:
        """The loss of queries and their positives against drawn negatives and, if configured, in-batch ones."""
        negative_C, negative_CD, log_q_C, num_in_batch = drawn_S, drawn_SD, None, 0
        if not self._loss.shares_negatives:
            is_own_b = items_b == drawn_S if users_items is None else users_items.have(drawn_S)
            pair_E = is_own_b.nonzero().flatten()
            excluded_2E = torch.stack([pair_E, pair_E])
        else:
            if self.config.in_batch and not self.config.full:
                all_items_B = gather_rows(items_b)
                num_in_batch = len(all_items_B) - 1
                negative_C = torch.cat([all_items_B, drawn_S])
                negative_CD = torch.cat([gather_rows(own_bD), drawn_SD])
            excluded_2E = same_items(items_b, negative_C) if users_items is None else users_items.among(negative_C)
            if self.config.log_q and not self.config.full:
                log_q_C = self._mixture.log_q(num_in_batch, query_bD.device)[negative_C]
        positive_b = (query_bD * own_bD).sum(1)
        given = (query_bD, positive_b, negative_CD, log_q_C, excluded_2E, self.config)
        loss = self._loss(*given) if weight_b is None else self._loss(*given, weight_B=weight_b)
        num_candidates = len(negative_C) if self._loss.shares_negatives else 1
        counts_b = have_negatives(excluded_2E, positive_b, num_candidates)
        return loss * global_weight((counts_b if weight_b is None else counts_b * weight_b).sum())


def user_vectors_and_positives(model: TwoTower, batch: TrainBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    """User vectors [b, D] and the item row of the positive of each [b]; every target of a window is a positive."""
    arrays = (batch.user_rows_B, batch.history_BL, batch.item_rows)
    users, history_BL, items = (torch.from_numpy(a).to(device) for a in arrays)
    context = None if batch.context is None else torch.from_numpy(batch.context).to(device)
    moments = Moments.of_arrays(batch.times_BL, batch.types_BL, device)
    if items.ndim == 1:
        return model.user_vectors(users, history_BL, context, moments), items
    is_target_BL = items > 0
    return model.user_vectors_at_each_position(users, history_BL, context, moments)[is_target_BL], items[is_target_BL]


@dataclass(frozen=True, slots=True)
class ExplicitNegativeRows:
    """For each positive of a batch, one explicit negative of its user.

    Attributes:
        item_rows_b: int32; 0 where the user has none.
        weights_b: float32, how much it counts; 0 where the user has none.
    """

    item_rows_b: Tensor
    weights_b: Tensor


def unwanted_items(batch: TrainBatch, device: torch.device) -> ExplicitNegativeRows | None:
    """The explicit negatives of a batch; None where no user of the log has any."""
    rows_b, weights_b = (of_positives(a, batch, device) for a in (batch.negative_rows, batch.negative_weights))
    return None if rows_b is None or weights_b is None else ExplicitNegativeRows(rows_b, weights_b)


def of_positives(values: np.ndarray | None, batch: TrainBatch, device: torch.device) -> Tensor | None:
    """Values of the shape of `batch.item_rows`, [b] in the order of the positives; None for None."""
    if values is None:
        return None
    values_b = values if batch.item_rows.ndim == 1 else values[batch.item_rows > 0]
    return torch.from_numpy(np.ascontiguousarray(values_b)).to(device)


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
    steps, replicated = FiniteSteps(model, device), replicated_parameters(model)
    for batch, rate in zip(batches, rates, strict=False):
        loss = objective(model, batch, generator, device)
        optimizers.zero_grad()
        loss.backward()
        average_gradients(replicated)
        steps.watch(loss)
        optimizers.scale_learning_rate(rate)
        optimizers.step()
        yield loss.detach()
    steps.look()
    check_weights(model)
