"""What an embedding table is.

Shape legend: B batch, M values of a row's bag (0 = none), N rows that can be looked up, S rows that this process
stores, R distinct rows of a batch, D dimension.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

INIT_BLOCK = 1 << 16
"""Rows of initial values that are drawn at a time."""


DRAWS: ContextVar[bool] = ContextVar("DRAWS", default=True)
"""Whether tables that are built get initial values; see `towers.checkpoint.opening.weights.without_initial_values`."""


class TableSettings(Protocol):
    """What a table is built from: the fields of `towers.model.config.ModelConfig` that concern it."""

    @property
    def hash_rows(self) -> int: ...


class Table(nn.Embedding, ABC):
    """Vectors by row, of ids or of feature values. Row 0 stands for what is unknown, or for no value.

    A subclass is built by `(num_rows, embedding_dim, std, settings)` alone, `std` being the standard deviation of the
    initial values, and registers itself with `@TABLES.register(name)`. It is an `nn.Embedding` of the rows that this
    process stores. Its gradient is a sparse tensor, which names the rows that a step touches, so that the optimizer
    keeps state for these and changes no others.

    Attributes:
        num_rows: rows that can be looked up (N).
        stored_S: int64, which of them this process stores, in the order of `weight`.
        divides_rows: whether the rows are divided among the workers of a training.
        is_sharded: whether other workers store the other rows. The gradient is then complete as it is, and nothing of
            it is exchanged after the backward pass; all workers must look up rows together.
    """

    divides_rows: ClassVar[bool] = False
    num_rows: int
    is_sharded: bool = False

    @abstractmethod
    def __init__(self, num_rows: int, embedding_dim: int, std: float, settings: TableSettings) -> None: ...

    @property
    def stored_S(self) -> Tensor:
        return torch.arange(self.num_rows)

    @abstractmethod
    def forward(self, rows: Tensor) -> Tensor:
        """int [...] -> float32 [..., D]."""

    def means(self, bag_BM: Tensor) -> Tensor:
        """The mean vector of each row's values: int [B, M] (0 = none) -> float32 [B, D], zero where there are none.

        The R distinct values of the batch are looked up first. The gradient then has R rows in place of B * M, which an
        optimizer would have to sort and add up, and which workers would have to exchange.
        """
        values_R, index = torch.cat([bag_BM.new_zeros(1), bag_BM.flatten()]).unique(return_inverse=True)
        vectors_RD = self.of_distinct(values_R)  # 0 comes first
        return functional.embedding_bag(index[1:].view(bag_BM.shape), vectors_RD, mode="mean", padding_idx=0)

    def of_distinct(self, rows_R: Tensor) -> Tensor:
        """int [R], ascending and without repetition -> float32 [R, D]."""
        return self(rows_R)

    @torch.no_grad()
    def clear_unknown(self) -> None:
        """Sets the vector of row 0 to zero, in the process that stores it."""
        self.weight[(self.stored_S == 0).nonzero().flatten()] = 0

    @torch.no_grad()
    def set_rows(self, start_ND: Tensor) -> None:
        """Initialises the table with these vectors; row 0 stays as it is."""
        rows_S = self.stored_S
        places_S = (rows_S > 0).nonzero().flatten()
        for part in places_S.split(INIT_BLOCK):
            self.weight[part] = start_ND[rows_S[part]].to(self.weight)


def draw_in_blocks(num_rows: int, dim: int, std: float, keep: Callable[[int, Tensor], None]) -> None:
    """Draws normal values for all rows, in blocks; the same ones as for a whole table at once.

    Torch draws in groups of 16 values, and the last group again where it is not full: a block has whole groups, and the
    last block has 16 values at least.

    Args:
        keep: takes the first row of a block, and its values [B, D].
    """
    first = 0
    while DRAWS.get() and first < num_rows:
        size = min(INIT_BLOCK, num_rows - first)
        if 0 < (num_rows - first - size) * dim < 16:
            size = num_rows - first
        keep(first, torch.empty(size, dim).normal_(std=std))
        first += size


def skip_drawing(num_rows: int, dim: int) -> None:
    """Advances the random number generator as if a table of this size had been built."""
    for _ in range(2):  # nn.Embedding draws, and the table draws again
        draw_in_blocks(num_rows, dim, 1.0, lambda first, block_BD: None)


def tables_of(module: nn.Module) -> dict[str, Table]:
    """The tables of a module, by the names of their weights."""
    return {f"{name}.weight": table for name, table in module.named_modules() if isinstance(table, Table)}
