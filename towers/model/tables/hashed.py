"""Tables of a fixed number of rows, into which more ids or values than that are hashed.

Shape legend: N rows that can be looked up, S rows that are stored, D dimension.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.tables import TABLES
from towers.model.tables.table import Table, TableSettings, tables_of

SALTS = (0x243F6A8885A308D3, 0x13198A2E03707344)
"""Constants of the two hash functions: the first hexadecimal digits of the fraction of pi."""


@TABLES.register("hashed")
class HashedTable(Table):
    """At most `model.hash_rows` rows. The vector of row r is the mean of the stored rows h1(r) and h2(r).

    Two ids share their whole vector only where they have the same two rows: some N^2 / S^2 pairs in place of N^2 / 2S
    (double hashing: Zhang et al. 2020, "Model Size Reduction Using Frequency Based Double Hashing for Recommender
    Systems"; with learnt weights: Svenstrup et al. 2017, "Hash Embeddings"). Two departures: all ids are hashed, the
    frequent ones too, and the two rows are averaged, so that a step moves an id as far as in a whole table. Row 0 keeps
    a row of its own. Tables of fewer rows than `model.hash_rows` are not hashed.

    Attributes:
        is_hashed: whether there are more rows to look up than are stored. Saved weights of `model.hash_rows` rows are
            those of a hashed table, and all others are not, whatever was added to the catalogue since.
    """

    def __init__(self, num_rows: int, embedding_dim: int, std: float, settings: TableSettings) -> None:
        nn.Embedding.__init__(self, min(num_rows, settings.hash_rows), embedding_dim, sparse=True)
        self.num_rows, self.hash_rows = num_rows, settings.hash_rows
        self.is_hashed = num_rows >= settings.hash_rows
        nn.init.normal_(self.weight, std=std * 2**0.5 if self.is_hashed else std)

    @property
    def stored_S(self) -> Tensor:
        return torch.arange(len(self.weight))

    def forward(self, rows: Tensor) -> Tensor:
        if not self.is_hashed:
            return functional.embedding(rows, self.weight, sparse=True)
        of_both = torch.stack([hashed(rows, salt, len(self.weight)) for salt in SALTS])
        return functional.embedding(of_both, self.weight, sparse=True).mean(0)

    def set_rows(self, start_ND: Tensor) -> None:
        assert not self.is_hashed, "ModelConfig refuses a start other than random with hashed tables"
        super().set_rows(start_ND)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes the number of rows of weights that were fitted before rows were added, which are never looked up."""
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and len(weight) < min(self.hash_rows, self.num_rows):
            self.weight = nn.Parameter(self.weight.new_empty(len(weight), self.embedding_dim))
            self.is_hashed = False
        super()._load_from_state_dict(state_dict, prefix, *args)


def hashed_tables(module: nn.Module) -> dict[str, HashedTable]:
    """The tables of a module that hash their rows where they are many, by the names of their weights."""
    return {name: table for name, table in tables_of(module).items() if isinstance(table, HashedTable)}


def hashed(rows: Tensor, salt: int, size: int) -> Tensor:
    """int64, the shape of `rows`: 0 for row 0, and 1 to size - 1 for others, the same in every process and version.

    The bits are mixed as in the finalizer of MurmurHash3 (Appleby 2011).
    """
    mixed = rows.long() ^ salt
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ _shifted(mixed)) * (factor - (1 << 64))  # int64 wraps around
    mixed = (mixed ^ _shifted(mixed)) & ((1 << 63) - 1)
    return torch.where(rows == 0, 0, mixed % (size - 1) + 1)


def _shifted(bits: Tensor) -> Tensor:
    """The bits shifted right by 33, with zeros on the left."""
    return (bits >> 33) & ((1 << 31) - 1)
