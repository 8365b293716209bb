"""Tables of which every worker holds all rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.tables import TABLES
from towers.model.tables.table import Table, TableSettings


@TABLES.register("whole")
class WholeTable(Table):
    """All rows on every worker; the gradients of the touched rows are averaged over the workers.

    Args:
        sparse: whether the gradient is a sparse tensor.
    """

    def __init__(
        self, num_rows: int, embedding_dim: int, std: float, settings: TableSettings | None = None, sparse: bool = True
    ) -> None:
        nn.Embedding.__init__(self, num_rows, embedding_dim, sparse=sparse)
        nn.init.normal_(self.weight, std=std)
        self.num_rows = num_rows

    def forward(self, rows: Tensor) -> Tensor:
        return functional.embedding(rows, self.weight, sparse=self.sparse)

    def means(self, bag_BM: Tensor) -> Tensor:
        if self.sparse and torch.is_grad_enabled():
            return super().means(bag_BM)
        return functional.embedding_bag(bag_BM, self.weight, mode="mean", padding_idx=0, sparse=self.sparse)


def dense_table(num_rows: int, embedding_dim: int, std: float) -> WholeTable:
    """A whole table with a dense gradient, for small tables that any optimizer can take."""
    return WholeTable(num_rows, embedding_dim, std, sparse=False)
