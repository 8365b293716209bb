"""Encoders of a user's history: item rows, oldest first, to one vector. B batch, L length, D dimension."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PooledHistory(nn.Module):
    """Linear map of the mean item embedding over the history, as in SimpleX (Mao et al. 2021, eq. 4, mean pooling)."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_dim, embedding_dim, bias=False)
        nn.init.eye_(self.linear.weight)

    def forward(self, history_BL: Tensor, items_ID: Tensor) -> Tensor:
        """int [B, L] (0 = padding), embeddings [I, D] -> float32 [B, D]; zeros for an empty history."""
        return self.linear(functional.embedding_bag(history_BL, items_ID, mode="mean", padding_idx=0))


def pad(histories: list[list[int]], length: int) -> Tensor:
    """Lists of item rows, oldest first, to int32 [B, length], padded with 0 on the left."""
    kept = [history[max(len(history) - length, 0) :] for history in histories]
    return torch.tensor([[0] * (length - len(h)) + h for h in kept], dtype=torch.int32).reshape(len(kept), length)
