"""Padding of histories of different lengths to one tensor."""

import torch
from torch import Tensor


def pad(histories: list[list[int]], length: int) -> Tensor:
    """Lists of item rows, oldest first, to int32 [B, length]: the latest items of each, padded with 0 on the left."""
    kept = [history[max(len(history) - length, 0) :] for history in histories]
    return torch.tensor([[0] * (length - len(h)) + h for h in kept], dtype=torch.int32).reshape(len(kept), length)
