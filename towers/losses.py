"""Retrieval losses: small pure functions. B positives, C candidates (among them each row's positive)."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional


class LossKind(Enum):
    """What is computed from a positive's score and its negatives'."""

    softmax = "softmax"
    bilateral = "bilateral"


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """A softmax loss over in-batch and uniform negatives.

    Attributes:
        exponent: bilateral: weight of the negative part; above 1 pushes hard negatives further away.
        temperature: cosines are divided by it.
        in_batch: other positives of the (global) batch serve as negatives.
        num_uniform: further negatives drawn uniformly from the catalogue, shared by the batch.
        full: all items are candidates, for small catalogues; in_batch, num_uniform and log_q do not count.
        log_q: correct for how often a candidate is drawn.
    """

    kind: LossKind = LossKind.softmax
    exponent: float = 1.2
    temperature: float = 0.08
    in_batch: bool = True
    num_uniform: int = 512
    full: bool = False
    log_q: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"loss.temperature: {self.temperature} must be above 0")
        if not self.exponent > 0:
            raise ValueError(f"loss.exponent: {self.exponent} must be above 0")
        if self.num_uniform < 0 or (self.num_uniform == 0 and not self.in_batch):
            raise ValueError("loss: needs negatives: in_batch=true, or num_uniform of at least 1")


def sampled_softmax(
    logits_BC: Tensor, positive_column_B: Tensor, log_q_C: Tensor | None = None, excluded_BC: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the positive among the candidates, negatives weighted by 1 / q.

    loss = -mean_b [s_b+ - log(exp(s_b+) + sum_{c not b+} exp(s_bc) / q_c)]

    With q the expected number of times a candidate is among the negatives, the sum is an unbiased estimate of the full
    softmax's (Bengio & Senecal 2008). Yi et al. 2019 subtract log q from the positive too; as accidental hits are left
    out here, the positive stands in the sum exactly once, so its q is 1.

    Args:
        logits_BC: scores over temperature.
        positive_column_B: int64, where each row's positive stands among the candidates.
        log_q_C: log expected count of each candidate; None leaves the correction out.
        excluded_BC: True where a candidate must not count (accidental hits); its gradient is exactly zero.

    Returns:
        float32 scalar, nats per positive.
    """
    return functional.cross_entropy(_weighted(logits_BC, positive_column_B, log_q_C, excluded_BC), positive_column_B)


def bilateral_softmax(
    logits_BC: Tensor,
    positive_column_B: Tensor,
    exponent: float,
    log_q_C: Tensor | None = None,
    excluded_BC: Tensor | None = None,
) -> Tensor:
    """Softmax loss with an exponent on its negative part, from which the positive is left out.

    loss = -mean_b [s_b+ - exponent * log(sum_{c not b+} exp(s_bc) / q_c)]

    Wu et al. 2023, "BSL: Understanding and Improving Softmax Loss for Recommendation". Its two
    temperatures, tau_1 of the positive and tau_2 of the negatives, become, with one positive per row, one temperature
    and the exponent tau_1 / tau_2. Arguments as for `sampled_softmax`.
    """
    weighted_BC = _weighted(logits_BC, positive_column_B, log_q_C, excluded_BC)
    column_B1 = positive_column_B[:, None]
    negative_B = weighted_BC.scatter(1, column_B1, -torch.inf).logsumexp(1)
    return (exponent * negative_B - weighted_BC.gather(1, column_B1)[:, 0]).mean()


def _weighted(
    logits_BC: Tensor, positive_column_B: Tensor, log_q_C: Tensor | None, excluded_BC: Tensor | None
) -> Tensor:
    """Logits with the negatives' log q taken off, and -inf where a candidate must not count."""
    if log_q_C is not None:
        column_B1 = positive_column_B[:, None]
        logits_BC = (logits_BC - log_q_C).scatter(1, column_B1, logits_BC.gather(1, column_B1))
    return logits_BC if excluded_BC is None else logits_BC.masked_fill(excluded_BC, -torch.inf)
