"""Embeds encoded features: the part of a vector that an id's declared features determine.

Shape legend: B rows looked up, N rows of a catalogue (row 0, unknown, included), M values of a feature, F numeric
features, V rows of a vocabulary, R of them in a batch, D dimension, E length of a feature's vectors.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.features import EncodedFeatures, FeatureEncoder
from towers.model.tables.table import Table
from towers.model.tables.whole import dense_table

PRECOMPUTE_CHUNK = 65_536
"""Rows that `precompute` embeds at a time."""


class ByFeature(nn.ModuleDict):
    """Modules by the names of features, which may be those of a module's own methods, such as `type`, `items` or `to`.

    `get_parameter`, which asks for attributes, does not find these.
    """

    def add_module(self, name: str, module: nn.Module | None) -> None:
        assert module is not None, "each feature has a module"
        self._modules[name] = module

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # `training`, also where a feature is called so


class FeatureEmbedding(nn.Module):
    """Sum of an id's embedded features: the mean embedding of each categorical one, linear maps of numbers and vectors.

    Args:
        table: makes the table of a vocabulary from its number of rows, the length of its vectors, and the standard
            deviation of its initial values.

    Attributes:
        numbers_NF: float32, the numeric features of all rows.
        sum_ND: float32, the embedded features of all rows once `precompute` was called; None before.
    """

    numbers_NF: Tensor
    sum_ND: Tensor | None

    def __init__(
        self,
        encoder: FeatureEncoder,
        encoded: EncodedFeatures,
        embedding_dim: int,
        table: Callable[[int, int, float], Table] = dense_table,
    ) -> None:
        super().__init__()
        self._names, self._embedding_dim = list(encoded.bags), embedding_dim
        self.tables = ByFeature()
        for name, bag in encoded.bags.items():
            self.tables[name] = table(encoder.num_rows(name), embedding_dim, 0.1 * embedding_dim**-0.5)
            self.register_buffer(f"bag_{name}", bag, persistent=False)
        self.register_buffer("numbers_NF", encoded.numbers_NF, persistent=False)
        self.register_buffer("sum_ND", None, persistent=False)
        self.linear: nn.Linear | None = None
        if encoded.numbers_NF.shape[1]:
            self.linear = nn.Linear(encoded.numbers_NF.shape[1], embedding_dim, bias=False)
            nn.init.normal_(self.linear.weight, std=0.1 * embedding_dim**-0.5)
        self.projections = ByFeature()
        for name, vector_NE in encoded.vectors.items():
            projection = nn.Linear(vector_NE.shape[1], embedding_dim, bias=False)
            nn.init.normal_(projection.weight, std=0.1 * embedding_dim**-0.5)
            self.projections[name] = projection
            self.register_buffer(f"vector_{name}", vector_NE, persistent=False)

    @property
    def has_features(self) -> bool:
        """Whether any feature is declared."""
        return bool(self._names or self.projections) or self.linear is not None

    @property
    def precomputed_bytes(self) -> int:
        """What `precompute` takes: N rows of D float32."""
        return 4 * self._embedding_dim * len(self.numbers_NF) if self.has_features else 0

    @torch.no_grad()
    def precompute(self) -> None:
        """Embeds every row once, so that `forward` is a lookup from now on. For weights that no longer change."""
        if self.has_features and self.sum_ND is None:
            rows_N = torch.arange(len(self.numbers_NF), device=self.numbers_NF.device)
            self.sum_ND = torch.cat([self(rows_C) for rows_C in rows_N.split(PRECOMPUTE_CHUNK)])

    def forward(self, rows_B: Tensor) -> Tensor:
        """int [B] -> float32 [B, D]; a zero that broadcasts to it where no feature is declared."""
        if self.sum_ND is not None:
            return functional.embedding(rows_B, self.sum_ND)
        bags = {name: self.get_buffer(f"bag_{name}")[rows_B] for name in self._names}
        vectors = {name: self.get_buffer(f"vector_{name}")[rows_B] for name in self.projections}
        return self.embed(EncodedFeatures(bags, self.numbers_NF[rows_B], vectors))

    def embed(self, encoded_B: EncodedFeatures) -> Tensor:
        """float32 [B, D]: what `forward` returns, for features that need not be those of a row.

        Args:
            encoded_B: the features of B users or items.
        """
        tables = {name: cast(Table, table) for name, table in self.tables.items()}
        parts = [tables[name].means(encoded_B.bags[name]) for name in self._names]
        if self.linear is not None:
            parts.append(self.linear(encoded_B.numbers_NF))
        parts += [projection(encoded_B.vectors[name]) for name, projection in self.projections.items()]
        return torch.stack(parts).sum(0) if parts else torch.zeros(1, device=encoded_B.numbers_NF.device)
