"""The softmax losses computed block by block, without a matrix of all scores.

Shape legend: B positives, b those of a block, C negatives shared by them, D dimension, E excluded pairs.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from towers.training.negatives.same_items import have_negatives

BLOCK = {"cpu": 1 << 18, "cuda": 1 << 26}
"""Number of scores held at a time, by type of device; on a CPU as many as fit into a core's cache."""


class BlockwiseContrast(torch.autograd.Function):
    """Both softmax losses with their gradients, a block of queries at a time: no [B, C] matrix is ever held.

    With an `exponent` it is the bilateral softmax, without one (None) the sampled softmax. The gradients are computed
    in the forward pass, while a block's scores are in memory, as fused cross-entropies of language models do (Hsu et
    al. 2024, "Liger Kernel"). With n_b the log-sum over the negatives, the loss depends on a negative's score through
    n_b alone: d loss / d n_b is `share_B`, spread by the softmax over the negatives.

    A query all of whose negatives are excluded counts nothing: it has no gradient, and the mean leaves it out. With
    `weight_B` the mean over the others is weighted.
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
        weight_B: Tensor | None = None,
    ) -> Tensor:
        num_queries, num_negatives = len(query_BD), len(negative_CD)
        block = max(BLOCK[query_BD.device.type] // max(num_negatives, 1), 1)
        offset_C = query_BD.new_zeros(num_negatives) if log_q_C is None else -log_q_C
        negative_DC = negative_CD.T
        grad_query_BD, grad_negative_CD = torch.empty_like(query_BD), torch.zeros_like(negative_CD)
        log_sum_B, share_B = torch.empty_like(positive_B), torch.empty_like(positive_B)
        counts_B = have_negatives(excluded_2E, positive_B, num_negatives)
        part_B = counts_B if weight_B is None else counts_B * weight_B.to(positive_B)  # of each query in the mean
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
            log_sum_B[at] = total_b.where(counts_B[at], 1.0).log() + highest_b1[:, 0]
            share_B[at] = (exponent or torch.sigmoid(log_sum_B[at] - positive_B[at])) * part_B[at]
            scale_b1 = (share_B[at] / total_b.clamp_min(torch.finfo(total_b.dtype).tiny))[:, None]
            torch.mm(weight_bC, negative_CD, out=grad_query_BD[at]).mul_(scale_b1)
            grad_negative_CD.addmm_(weight_bC.T, query_bD * scale_b1)
        total = part_B.sum()
        num_counted = total.clamp_min(1 if weight_B is None else torch.finfo(total.dtype).tiny)
        grad_positive_B = -share_B if exponent is None else -part_B.to(share_B.dtype)
        ctx.save_for_backward(grad_query_BD, grad_positive_B, grad_negative_CD, num_counted)
        loss_B = functional.softplus(log_sum_B - positive_B) if exponent is None else exponent * log_sum_B - positive_B
        counted_B = loss_B.where(counts_B, 0.0)
        return (counted_B if weight_B is None else counted_B * part_B).sum() / num_counted

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *gradients, num_counted = ctx.saved_tensors
        share = grad / num_counted
        return *(gradient * share for gradient in gradients), None, None, None, None


def _by_block(pairs_2E: Tensor | None, num_queries: int, block: int) -> list[Tensor | None]:
    """The pairs of each block of queries, int64 [2, e]; None for every block where there are no pairs."""
    starts = torch.arange(0, num_queries + block, block)
    if pairs_2E is None:
        return [None] * (len(starts) - 1)
    ends = torch.searchsorted(pairs_2E[0].contiguous(), starts.to(pairs_2E.device)).tolist()
    return [pairs_2E[:, a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)]
