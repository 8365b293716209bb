"""Calibration of predicted probabilities: Platt scaling, and the error that remains.

Shape legend: N predictions.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit
from torch import Tensor

BINS = 10
"""Bins of the calibration error."""


SLOPES = (1e-4, 1e3)
"""Bounds of the slope, per standard deviation of the scores: for scores that say nothing, or the opposite, no positive
slope is the most likely one, and for scores that tell all hits apart no finite one."""


def platt(score_N: Tensor, hit_N: Tensor, weight_N: Tensor | None = None) -> Tensor:
    """Slope and bias of log-odds = slope * score + bias by maximum likelihood, float32 [2].

    Platt (1999), with two departures: the targets are 1 and 0, and the slope is always positive, so that calibration
    never changes an order. The result is [1, 0] where all predictions are hits, or none is. Where all scores are the
    same, the log-odds are those of the share of hits.

    Args:
        score_N: float32, scores before calibration.
        hit_N: bool, whether the prediction was right.
        weight_N: float32, how much each prediction counts; None counts all alike.
    """
    if not 0 < hit_N.float().mean() < 1:
        return torch.tensor([1.0, 0.0])
    score, hit = score_N.double().numpy(), hit_N.double().numpy()
    weight = np.ones(len(hit)) if weight_N is None else weight_N.double().numpy()
    weight = weight / weight.mean()
    centre, at_share = np.average(score, weights=weight), logit(np.average(hit, weights=weight))
    deviation = np.sqrt(np.average((score - centre) ** 2, weights=weight))
    if deviation <= np.finfo(np.float32).eps * abs(centre):
        return torch.tensor([1.0, at_share - centre], dtype=torch.float32)
    standard = (score - centre) / deviation

    def loss(slope_and_bias: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean cross-entropy and its gradient."""
        log_odds = slope_and_bias[0] * standard + slope_and_bias[1]
        residual = weight * (expit(log_odds) - hit)
        value = float((weight * (np.logaddexp(0, log_odds) - hit * log_odds)).mean())
        return value, np.array([(residual * standard).mean(), residual.mean()])

    found = minimize(loss, np.array([1.0, at_share]), jac=True, method="L-BFGS-B", bounds=[SLOPES, (None, None)]).x
    slope = found[0] / deviation
    return torch.tensor([slope, found[1] - slope * centre], dtype=torch.float32)


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
