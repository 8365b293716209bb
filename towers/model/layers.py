"""Layers that both towers have: the id embedding at the input, and the normalisation at the output.

Shape legend: B batch, N rows of an id table (row 0 = unknown), D dimension.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.tables.table import Table

SHORTEST = 1e-3
"""Vectors shorter than this are not made as long as 1: those of nothing, such as a cold item without features that is
an explicit negative, would have gradients 1e12 times as large as others."""


class KnownIds(nn.Module):
    """Which ids have training data.

    Attributes:
        known_N: bool, ids with interactions to train on.
    """

    known_N: Tensor

    def __init__(self, known_N: Tensor) -> None:
        super().__init__()
        self.register_buffer("known_N", known_N, persistent=False)

    def known_rows(self, rows: Tensor) -> Tensor:
        """Replaces the rows of ids without training data by 0. Any shape."""
        return torch.where(self.known_N[rows], rows, 0)


class IdEmbedding(KnownIds):
    """Embeddings of ids. Row 0 stands for every id without training data.

    Id dropout trains it. Without, nothing does, see `ModelConfig.clears_unknown`.

    Attributes:
        table: the vectors, one for each id; those without training data look up row 0.
    """

    def __init__(self, known_N: Tensor, table: Table, id_dropout: float) -> None:
        super().__init__(known_N)
        self.table = table
        self.id_dropout = id_dropout

    def forward(self, rows_B: Tensor) -> Tensor:
        """int [B] -> float32 [B, D]."""
        rows_B = self.known_rows(rows_B)
        if self.training and self.id_dropout:
            rows_B = torch.where(torch.rand(rows_B.shape, device=rows_B.device) < self.id_dropout, 0, rows_B)
        return self.table(rows_B)


class Refine(nn.Module):
    """Residual two-layer perceptron (left out at hidden_dim 0), then normalisation to length 1 (see SHORTEST).

    The dot product of two outputs is therefore their cosine.
    """

    def __init__(self, embedding_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.perceptron: nn.Sequential | None = None
        if hidden_dim:
            first, last = nn.Linear(embedding_dim, hidden_dim), zeroed(nn.Linear(hidden_dim, embedding_dim))
            self.perceptron = nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), last)

    def forward(self, x_BD: Tensor) -> Tensor:
        """float32 [..., D], the same shape out."""
        if self.perceptron is not None:
            x_BD = x_BD + self.perceptron(x_BD)
        return functional.normalize(x_BD, dim=-1, eps=SHORTEST)


def zeroed(linear: nn.Linear) -> nn.Linear:
    """Sets weight and bias to zero, so that the layer's output starts at zero; returns the layer."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
