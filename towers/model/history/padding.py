"""Padding of histories of different lengths to one tensor."""

import torch
from torch import Tensor


def pad(histories: list[list[int]], length: int, dtype: torch.dtype = torch.int32) -> Tensor:
    """Lists of item rows, oldest first, to int32 [B, length]: the latest items of each, padded with 0 on the left.

    Args:
        dtype: of the result, for lists of other values.
    """
    kept = [history[max(len(history) - length, 0) :] for history in histories]
    return torch.tensor([[0] * (length - len(h)) + h for h in kept], dtype=dtype).reshape(len(kept), length)
