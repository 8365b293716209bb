"""One tower: id embedding + feature embeddings (+ whatever its owner adds), refined, normalised to length 1."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class IdEmbedding(nn.Module):
    """The table behind ids. Row 0 speaks for every id without training data, and is trained by id dropout.

    Gradients are sparse: they name the rows that a step touches.

    Attributes:
        known_N: bool [N]: ids with training interactions; the others look up row 0.
    """

    known_N: Tensor

    def __init__(self, known_N: Tensor, embedding_dim: int, id_dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(len(known_N), embedding_dim, sparse=True)
        nn.init.normal_(self.table.weight, std=embedding_dim**-0.5)
        self.id_dropout = id_dropout
        self.register_buffer("known_N", known_N, persistent=False)

    def known_rows(self, rows: Tensor) -> Tensor:
        """Replaces rows of ids without training data by 0; any shape."""
        return torch.where(self.known_N[rows], rows, 0)

    def forward(self, rows_B: Tensor) -> Tensor:
        rows_B = self.known_rows(rows_B)
        if self.training and self.id_dropout:
            rows_B = torch.where(torch.rand(rows_B.shape, device=rows_B.device) < self.id_dropout, 0, rows_B)
        return self.table(rows_B)


class Refine(nn.Module):
    """Residual two-layer perceptron (nothing at hidden_dim 0), then unit length: a dot product is a cosine."""

    def __init__(self, embedding_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.perceptron: nn.Sequential | None = None
        if hidden_dim:
            first, last = nn.Linear(embedding_dim, hidden_dim), zeroed(nn.Linear(hidden_dim, embedding_dim))
            self.perceptron = nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), last)

    def forward(self, x_BD: Tensor) -> Tensor:
        if self.perceptron is not None:
            x_BD = x_BD + self.perceptron(x_BD)
        return functional.normalize(x_BD, dim=-1)


def zeroed(linear: nn.Linear) -> nn.Linear:
    """A layer that starts by saying nothing."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
