"""Tables whose rows are divided among the workers, for more rows than one of them has memory for.

Shape legend: N rows of the table, S rows that this worker stores, R distinct rows of a batch, D dimension.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from towers.model.tables import TABLES
from towers.model.tables.exchange import look_up
from towers.model.tables.table import Table, TableSettings, draw_in_blocks


@TABLES.register("sharded")
class ShardedTable(Table):
    """Row r is stored by worker r % (number of workers), and so is what the optimizer remembers of it.

    A lookup asks the owners for the distinct rows of a batch (towers/model/tables/exchange.py). Initial values do not
    depend on the number of workers, and are those of a whole table. In a process that is alone, as where a checkpoint
    is evaluated or served, all rows are here.
    """

    divides_rows = True

    def __init__(self, num_rows: int, embedding_dim: int, std: float, settings: TableSettings) -> None:
        self.num_rows = num_rows
        self.rank, self.num_workers = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.is_sharded = self.num_workers > 1
        size, dim = len(self.stored_S), embedding_dim
        nn.Embedding.__init__(self, size, dim, sparse=True, _weight=torch.empty(size, dim))
        draw_in_blocks(num_rows, dim, 1.0, lambda first, block_BD: None)  # what nn.Embedding draws for a whole table
        draw_in_blocks(num_rows, dim, std, self._keep)

    @property
    def stored_S(self) -> Tensor:
        return torch.arange(self.rank, self.num_rows, self.num_workers)

    def forward(self, rows: Tensor) -> Tensor:
        if not self.is_sharded:
            return functional.embedding(rows, self.weight, sparse=True)
        rows_R, index = rows.flatten().unique(return_inverse=True)
        return functional.embedding(index.view(rows.shape), self.of_distinct(rows_R))

    def of_distinct(self, rows_R: Tensor) -> Tensor:
        if not self.is_sharded:
            return self(rows_R)
        return look_up(rows_R.long(), self.weight, self.num_workers)

    @torch.no_grad()
    def _keep(self, first: int, block_BD: Tensor) -> None:
        """Takes the rows that this worker stores out of a block of the whole table that begins at row `first`."""
        start = (self.rank - first) % self.num_workers
        own = block_BD[start :: self.num_workers]
        place = (first + start) // self.num_workers
        self.weight[place : place + len(own)] = own

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes its rows of a whole table, where the weights are those of one."""
        weight = state_dict.get(f"{prefix}weight")
        if self.is_sharded and weight is not None and len(weight) == self.num_rows:
            state_dict = {**state_dict, f"{prefix}weight": weight[self.rank :: self.num_workers]}
        super()._load_from_state_dict(state_dict, prefix, *args)
