"""Bayesian personalised ranking: each positive against one negative of its own."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from towers.training.losses import LOSSES, Loss
from towers.training.losses.config import LossConfig


@LOSSES.register("bpr")
class BayesianPersonalisedRanking(Loss):
    """`bpr` of dot products. Log q does not enter: a negative is compared with its own positive alone."""

    shares_negatives: ClassVar[bool] = False
    supports_all_positions: ClassVar[bool] = False

    def __call__(
        self,
        query_BD: Tensor,
        positive_B: Tensor,
        negative_CD: Tensor,
        log_q_C: Tensor | None,
        excluded_2E: Tensor | None,
        config: LossConfig,
        weight_B: Tensor | None = None,
    ) -> Tensor:
        excluded_B = None
        if excluded_2E is not None:
            excluded_B = torch.zeros(len(positive_B), dtype=torch.bool, device=positive_B.device)
            excluded_B[excluded_2E[0]] = True
        return bpr(positive_B, (query_BD * negative_CD).sum(1), excluded_B, weight_B)


def bpr(
    positive_B: Tensor, negative_B: Tensor, excluded_B: Tensor | None = None, weight_B: Tensor | None = None
) -> Tensor:
    """Mean of -log sigmoid(positive - negative), in nats (Rendle et al. 2009).

    Pairs of one item with itself (`excluded_B`) count nothing: the mean leaves them out, and their gradient is zero.
    With `weight_B` the mean is weighted.
    """
    loss_B = functional.softplus(negative_B - positive_B)
    if weight_B is not None:
        weight_B = weight_B if excluded_B is None else weight_B.masked_fill(excluded_B, 0.0)
        return (loss_B * weight_B).sum() / weight_B.sum().clamp_min(torch.finfo(weight_B.dtype).tiny)
    if excluded_B is None:
        return loss_B.mean()
    return loss_B.masked_fill(excluded_B, 0.0).sum() / (~excluded_B).sum().clamp_min(1)
