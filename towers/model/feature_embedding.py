"""Declared features to tensors: the one transform of training, batch embedding and the endpoint.

Shape legend: N rows of a catalogue (row 0, unknown, included), M values of a feature, F numeric features, D dimension.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.features import EncodedFeatures, FeatureEncoder

SETTLED_TOGETHER = 65_536
"""Rows whose sums are computed at a time."""


class FeatureEmbedding(nn.Module):
    """Sum of the embedded features: a mean over each bag, a linear map of the numbers."""

    numbers_NF: Tensor
    sum_ND: Tensor | None

    def __init__(self, encoder: FeatureEncoder, encoded: EncodedFeatures, embedding_dim: int) -> None:
        super().__init__()
        self._names = list(encoded.bags)
        self.tables = nn.ModuleDict()
        for name, bag in encoded.bags.items():
            table = nn.EmbeddingBag(len(encoder.vocabularies[name]), embedding_dim, mode="mean", padding_idx=0)
            nn.init.normal_(table.weight, std=0.1 * embedding_dim**-0.5)
            self.tables[name] = table
            self.register_buffer(f"bag_{name}", bag, persistent=False)
        self.register_buffer("numbers_NF", encoded.numbers_NF, persistent=False)
        self.register_buffer("sum_ND", None, persistent=False)
        self.linear: nn.Linear | None = None
        if encoded.numbers_NF.shape[1]:
            self.linear = nn.Linear(encoded.numbers_NF.shape[1], embedding_dim, bias=False)
            nn.init.normal_(self.linear.weight, std=0.1 * embedding_dim**-0.5)

    @property
    def any(self) -> bool:
        """Is any feature declared?"""
        return bool(self._names) or self.linear is not None

    @torch.no_grad()
    def settle(self) -> None:
        """Every row's sum, computed once: from now on a lookup, for weights that do not change any more."""
        if self.any and self.sum_ND is None:
            rows_N = torch.arange(len(self.numbers_NF), device=self.numbers_NF.device)
            self.sum_ND = torch.cat([self(rows_C) for rows_C in rows_N.split(SETTLED_TOGETHER)])

    def forward(self, rows_B: Tensor) -> Tensor:
        """int [B] -> float32 [B, D]; zero where nothing is declared."""
        if self.sum_ND is not None:
            return functional.embedding(rows_B, self.sum_ND)
        bags = {name: self.get_buffer(f"bag_{name}")[rows_B] for name in self._names}
        return self.of(EncodedFeatures(bags, self.numbers_NF[rows_B]))

    def of(self, encoded_B: EncodedFeatures) -> Tensor:
        """The same of features that need not be those of a row."""
        parts = [self.tables[name](encoded_B.bags[name]) for name in self._names]
        if self.linear is not None:
            parts.append(self.linear(encoded_B.numbers_NF))
        return torch.stack(parts).sum(0) if parts else torch.zeros(1, device=encoded_B.numbers_NF.device)
