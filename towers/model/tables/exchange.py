"""Rows that travel between workers: each asks the owners for the vectors of its rows, and returns their gradients.

Shape legend: R distinct rows that this worker asks for, A rows that the workers ask of this one, S rows that this one
stores, D dimension, W workers.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional


def look_up(rows_R: Tensor, weight_SD: Tensor, num_workers: int) -> Tensor:
    """The vectors of rows, wherever they are stored; row r lies at worker r % W, at place r // W.

    All workers must call this together. In the backward pass, which is an exchange too, each owner gets the sparse
    gradient of its rows: the mean over the workers, as the loss is the mean of theirs.

    Args:
        rows_R: int64, without repetition.
        weight_SD: the rows that this worker stores.

    Returns:
        float32 [R, D].
    """
    owner_R = rows_R % num_workers
    order_R = owner_R.argsort(stable=True)
    asked_W = torch.bincount(owner_R, minlength=num_workers)
    given_W = torch.empty_like(asked_W)
    dist.all_to_all_single(given_W, asked_W)
    asked, given = asked_W.tolist(), given_W.tolist()
    places_A = _exchanged(rows_R[order_R] // num_workers, asked, given)
    own_AD = functional.embedding(places_A, weight_SD, sparse=True)
    vectors_RD = _ExchangedVectors.apply(own_AD, given, asked)
    return vectors_RD[torch.empty_like(order_R).scatter_(0, order_R, torch.arange(len(order_R), device=order_R.device))]


def _exchanged(rows: Tensor, sent: list[int], received: list[int]) -> Tensor:
    """What the other workers sent to this one, in order of rank."""
    found = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(found, rows.contiguous(), received, sent)
    return found


class _ExchangedVectors(torch.autograd.Function):
    """`_exchanged` of vectors; their gradients travel back to where they came from."""

    @staticmethod
    def forward(ctx: Any, own_AD: Tensor, sent: list[int], received: list[int]) -> Tensor:
        ctx.sent, ctx.received = sent, received
        return _exchanged(own_AD, sent, received)

    @staticmethod
    def backward(ctx: Any, gradient_RD: Tensor) -> tuple[Tensor, None, None]:
        return _exchanged(gradient_RD / dist.get_world_size(), ctx.received, ctx.sent), None, None
