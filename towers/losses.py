"""Retrieval losses: small pure functions. B positives, C candidates (among them each row's positive)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """Sampled softmax over in-batch and uniform negatives.

    Attributes:
        temperature: cosines are divided by it.
        in_batch: other positives of the (global) batch serve as negatives.
        num_uniform: further negatives drawn uniformly from the catalogue, shared by the batch.
        log_q: correct for how often a candidate is drawn.
    """

    temperature: float = 0.08
    in_batch: bool = True
    num_uniform: int = 512
    log_q: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"loss.temperature: {self.temperature} must be above 0")
        if self.num_uniform < 0 or (self.num_uniform == 0 and not self.in_batch):
            raise ValueError("loss: needs negatives: in_batch=true, or num_uniform of at least 1")


def sampled_softmax(
    logits_BC: Tensor, positive_column_B: Tensor, log_q_C: Tensor | None = None, excluded_BC: Tensor | None = None
) -> Tensor:
    """Cross-entropy of the positive among the candidates, with log q correction.

    loss = -mean_b log softmax(logits_b - log q)[positive_b]  (Yi et al. 2019, eq. 3-5; Jean et al. 2015 for the
    general case). With log q the expected minimum is that of the full softmax over the catalogue.

    Args:
        logits_BC: scores over temperature.
        positive_column_B: int64, where each row's positive stands among the candidates.
        log_q_C: log expected count of each candidate; None leaves the correction out.
        excluded_BC: True where a candidate must not count (accidental hits); its gradient is exactly zero.

    Returns:
        float32 scalar, nats per positive.
    """
    if log_q_C is not None:
        logits_BC = logits_BC - log_q_C
    if excluded_BC is not None:
        logits_BC = logits_BC.masked_fill(excluded_BC, -torch.inf)
    return functional.cross_entropy(logits_BC, positive_column_B)
