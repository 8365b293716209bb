"""Retrieval losses: small pure functions. B positives, C negatives shared by them, D dimension, E excluded pairs."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from data.artifacts.errors import ConfigError

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}
"""Scores held at a time: on a CPU, what stays in a core's cache."""


class LossKind(Enum):
    """What is computed from a positive's score and its negatives'."""

    softmax = "softmax"
    bilateral = "bilateral"
    bpr = "bpr"


@dataclass(kw_only=True, slots=True)
class LossConfig:
    """A softmax loss over in-batch and drawn negatives, or BPR over one uniform negative each.

    Attributes:
        exponent: bilateral: weight of the negative part; above 1 pushes hard negatives further away.
        temperature: cosines are divided by it.
        in_batch: other positives of the (global) batch serve as negatives.
        num_uniform: further negatives drawn uniformly from the catalogue, shared by the batch.
        num_popular: further negatives drawn as often as the log has them, shared by the batch: most of a softmax's mass
            lies on popular items.
        full: all items are candidates, for small catalogues; the other negatives and log_q do not count.
        log_q: correct for how often a candidate is drawn.
    """

    kind: LossKind = LossKind.softmax
    exponent: float = 1.2
    temperature: float = 0.08
    in_batch: bool = True
    num_uniform: int = 512
    num_popular: int = 0
    full: bool = False
    log_q: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"loss.temperature: {self.temperature} must be above 0")
        if not self.exponent > 0:
            raise ConfigError(f"loss.exponent: {self.exponent} must be above 0")
        for name in ("num_uniform", "num_popular"):
            if getattr(self, name) < 0:
                raise ConfigError(f"loss.{name}: {getattr(self, name)} must be at least 0")
        if not (self.num_uniform or self.num_popular or self.in_batch or self.full):
            raise ConfigError("loss: needs negatives: in_batch=true, or num_uniform or num_popular of at least 1")
        if self.full and self.kind is LossKind.bpr:
            raise ConfigError("loss.full: bpr has one negative for each positive; set loss.full=false")


def sampled_softmax(
    query_BD: Tensor,
    positive_B: Tensor,
    negative_CD: Tensor,
    log_q_C: Tensor | None = None,
    excluded_2E: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the positive among itself and the negatives, each negative weighted by 1 / q.

    loss = -mean_b [s_b - log(exp(s_b) + sum_c exp(query_b . negative_c) / q_c)]

    With q the expected number of times an item is among the negatives, the sum is an unbiased estimate of the full
    softmax's (Bengio & Senecal 2008). Yi et al. 2019 subtract log q from the positive too; as accidental hits are left
    out here, the positive stands in the sum exactly once, so its q is 1.

    Args:
        query_BD: over the temperature.
        positive_B: score of each query's positive, over the temperature.
        log_q_C: log expected count of each negative; None leaves the correction out.
        excluded_2E: int64 pairs (query, negative) that must not count, by query: accidental hits and, where the batch's
            own positives are among the negatives, each query's own. Their gradient is exactly zero.

    Returns:
        float32 scalar, nats per positive.
    """
    return _Contrast.apply(query_BD, positive_B, negative_CD, log_q_C, excluded_2E, None)


def bilateral_softmax(
    query_BD: Tensor,
    positive_B: Tensor,
    negative_CD: Tensor,
    exponent: float,
    log_q_C: Tensor | None = None,
    excluded_2E: Tensor | None = None,
) -> Tensor:
    """Softmax loss with an exponent on its negative part, from which the positive is left out.

    loss = -mean_b [s_b - exponent * log(sum_c exp(query_b . negative_c) / q_c)]

    Wu et al. 2023, "BSL: Understanding and Improving Softmax Loss for Recommendation". Its two
    temperatures, tau_1 of the positive and tau_2 of the negatives, become, with one positive per row, one temperature
    and the exponent tau_1 / tau_2. Arguments as for `sampled_softmax`; every query needs a negative that counts.
    """
    return _Contrast.apply(query_BD, positive_B, negative_CD, log_q_C, excluded_2E, exponent)


def bpr(positive_B: Tensor, negative_B: Tensor, excluded_B: Tensor | None = None) -> Tensor:
    """Bayesian personalised ranking (Rendle et al. 2009): mean of -log sigmoid(positive - negative), in nats.

    Pairs of one item with itself (`excluded_B`) count as log 2, and have a gradient of exactly zero.
    """
    margin_B = positive_B - negative_B
    if excluded_B is not None:
        margin_B = margin_B.masked_fill(excluded_B, 0.0)
    return functional.softplus(-margin_B).mean()


class _Contrast(torch.autograd.Function):
    """Both softmax losses with their gradients, a block of queries at a time: no [B, C] matrix is ever held.

    The gradients are computed on the way forward, while a block's scores are at hand, as the fused cross-entropies of
    language models do (Hsu et al. 2024, "Liger Kernel"). With n_b the log-sum over the negatives, the loss depends
    on a negative's score through n_b alone: d loss / d n_b is `share_B`, spread by the softmax over the negatives.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query_BD: Tensor,
        positive_B: Tensor,
        negative_CD: Tensor,
        log_q_C: Tensor | None,
        excluded_2E: Tensor | None,
        exponent: float | None,
    ) -> Tensor:
        num_queries, num_negatives = len(query_BD), len(negative_CD)
        block = max(BLOCK[query_BD.device.type] // max(num_negatives, 1), 1)
        offset_C = query_BD.new_zeros(num_negatives) if log_q_C is None else -log_q_C
        negative_DC = negative_CD.T
        grad_query_BD, grad_negative_CD = torch.empty_like(query_BD), torch.zeros_like(negative_CD)
        log_sum_B, share_B = torch.empty_like(positive_B), torch.empty_like(positive_B)
        starts, blocks = range(0, num_queries, block), _by_block(excluded_2E, num_queries, block)
        scratch_bC = query_BD.new_empty(min(block, num_queries), num_negatives)
        for start, excluded_2e in zip(starts, blocks, strict=True):
            at = slice(start, start + block)
            query_bD = query_BD[at]
            weight_bC = torch.addmm(offset_C, query_bD, negative_DC, out=scratch_bC[: len(query_bD)])
            if excluded_2e is not None:
                weight_bC[excluded_2e[0] - start, excluded_2e[1]] = -torch.inf
            highest_b1 = weight_bC.amax(1, keepdim=True).clamp_min_(torch.finfo(weight_bC.dtype).min)
            total_b = weight_bC.sub_(highest_b1).exp_().sum(1)
            log_sum_B[at] = total_b.log() + highest_b1[:, 0]
            share_B[at] = exponent or torch.sigmoid(log_sum_B[at] - positive_B[at])
            scale_b1 = (share_B[at] / total_b.clamp_min(torch.finfo(total_b.dtype).tiny))[:, None]
            torch.mm(weight_bC, negative_CD, out=grad_query_BD[at]).mul_(scale_b1)
            grad_negative_CD.addmm_(weight_bC.T, query_bD * scale_b1)
        ctx.save_for_backward(
            grad_query_BD, -share_B if exponent is None else -torch.ones_like(share_B), grad_negative_CD
        )
        if exponent is None:
            return functional.softplus(log_sum_B - positive_B).mean()
        return (exponent * log_sum_B - positive_B).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        share = grad / len(ctx.saved_tensors[0])
        return *(saved * share for saved in ctx.saved_tensors), None, None, None


def _by_block(pairs_2E: Tensor | None, num_queries: int, block: int) -> list[Tensor | None]:
    """The pairs of each block of queries."""
    starts = torch.arange(0, num_queries + block, block)
    if pairs_2E is None:
        return [None] * (len(starts) - 1)
    ends = torch.searchsorted(pairs_2E[0].contiguous(), starts.to(pairs_2E.device)).tolist()
    return [pairs_2E[:, a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]
