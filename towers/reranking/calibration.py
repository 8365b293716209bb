"""Calibration of predicted probabilities: Platt scaling, and the error that remains.

Shape legend: N predictions.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

BINS = 10
"""Bins of the calibration error."""


def platt(score_N: Tensor, hit_N: Tensor, weight_N: Tensor | None = None) -> Tensor:
    """Slope and bias of log-odds = slope * score + bias by maximum likelihood, float32 [2].

    Platt (1999), with two departures: the targets are 1 and 0, and the slope is always positive, so that calibration
    never changes an order. The result is [1, 0] where all predictions are hits, or none is.

    Args:
        score_N: float32, scores before calibration.
        hit_N: bool, whether the prediction was right.
        weight_N: float32, how much each prediction counts; None counts all alike.
    """
    if not 0 < hit_N.float().mean() < 1:
        return torch.tensor([1.0, 0.0])
    if weight_N is not None:
        weight_N = weight_N / weight_N.mean()
    log_slope, bias = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_slope, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        log_odds_N = log_slope.exp() * score_N + bias
        loss = functional.binary_cross_entropy_with_logits(log_odds_N, hit_N.float(), weight_N)
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return torch.stack([log_slope.exp(), bias]).detach()


@dataclass(frozen=True)
class Calibration:
    """Predicted probabilities against observed frequencies.

    Attributes:
        error: expected calibration error (Naeini et al. 2015) over BINS bins with equal numbers of predictions.
        predicted: mean probability of each bin, ascending.
        observed: share of hits in each bin.
    """

    error: float
    predicted: list[float]
    observed: list[float]

    @classmethod
    def of(cls, probability_N: np.ndarray, hit_N: np.ndarray) -> "Calibration":
        """The calibration of predicted probabilities, float [N], given the hits, bool [N]."""
        by = np.argsort(probability_N, kind="stable")
        bins = [part for part in np.array_split(by, BINS) if len(part)]
        predicted = np.array([probability_N[part].mean(dtype=np.float64) for part in bins])
        observed = np.array([hit_N[part].mean(dtype=np.float64) for part in bins])
        weight = np.array([len(part) for part in bins]) / max(len(by), 1)
        return cls(float((weight * np.abs(predicted - observed)).sum()), predicted.tolist(), observed.tolist())

    def as_json(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return asdict(self)
