"""Exchange between workers that makes the training objective independent of their number.

Everything also works in a single process without torch.distributed. Shape legend: b rows of this worker.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from towers.model.tables.table import Table, tables_of


def world_size() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather_rows(rows_b: Tensor) -> Tensor:
    """All workers' rows in order of rank, [b, ...] -> [b * workers, ...]; gradients flow back to each worker.

    Every worker must hold the same number of rows.
    """
    if world_size() == 1:
        return rows_b
    if rows_b.requires_grad:
        return torch.cat(all_gather(rows_b))
    parts = [torch.empty_like(rows_b) for _ in range(world_size())]
    dist.all_gather(parts, rows_b.contiguous())
    return torch.cat(parts)


def global_weight(count: Tensor) -> Tensor | float:
    """The weight of a mean over `count` entries by which the average over workers is the mean over all entries.

    It is count * workers / sum of all workers' counts, on the device of the count. For a weighted mean, the count is
    the sum of the weights.
    """
    if world_size() == 1:
        return 1.0
    total = sum_over_workers(count.float())
    return count * world_size() / total.clamp_min(torch.finfo(total.dtype).tiny)


def all_reduce_min(count: int) -> int:
    """The smallest of all workers' counts."""
    if world_size() == 1:
        return count
    smallest = torch.tensor(count, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(smallest, dist.ReduceOp.MIN)
    return int(smallest)


def sum_over_workers(values: Tensor) -> Tensor:
    """The sums of all workers' values, element by element: the same on every worker, down to the last bit."""
    total = values.clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def anywhere(found: Tensor) -> Tensor:
    """bool, shape of `found`: whether each flag is set on at least one worker."""
    if world_size() == 1:
        return found
    flags = found.to(torch.int32)
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return flags > 0


def sharded_tables(model: nn.Module) -> dict[str, Table]:
    """The tables of which other workers store a part, by the names of their weights."""
    return {name: table for name, table in tables_of(model).items() if table.is_sharded}


def replicated_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The weights of which every worker has a copy, so that their gradients are to be averaged."""
    sharded = sharded_tables(model)
    return [parameter for name, parameter in model.named_parameters() if name not in sharded]


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over all workers.

    Dense gradients are exchanged as one flat tensor. Of sparse ones only the rows that a worker touched are exchanged,
    those of all tables together.
    """
    if world_size() == 1:
        return
    with_gradient = [p for p in parameters if p.grad is not None]
    tables = [p for p in with_gradient if p.grad is not None and p.grad.is_sparse]
    for width in sorted({p.shape[1:] for p in tables}):
        _average_rows([p for p in tables if p.shape[1:] == width])
    dense = [p.grad for p in with_gradient if p.grad is not None and not p.grad.is_sparse]
    if dense:
        flat = torch.cat([g.reshape(-1) for g in dense])
        dist.all_reduce(flat)
        for gradient, mean in zip(dense, (flat / world_size()).split([g.numel() for g in dense]), strict=True):
            gradient.copy_(mean.reshape(gradient.shape))


def _average_rows(tables: list[nn.Parameter]) -> None:
    """Replaces the sparse gradients of tables of one width by their mean over all workers.

    The tables are taken as one, whose rows follow one another, so that there are three exchanges however many there
    are.
    """
    own = [table.grad.coalesce() for table in tables if table.grad is not None]
    ends = torch.tensor([len(table) for table in tables]).cumsum(0)
    starts = [0, *ends.tolist()]
    rows_R = torch.cat([start + gradient.indices()[0] for start, gradient in zip(starts, own, strict=False)])
    values_RD = torch.cat([gradient.values() for gradient in own]) / world_size()
    all_rows, all_values = _gather_of_any_length(rows_R, values_RD)
    size = (starts[-1], *values_RD.shape[1:])
    whole = torch.sparse_coo_tensor(all_rows[None], all_values, size, check_invariants=False).coalesce()
    mean_rows, mean_values = whole.indices()[0], whole.values()
    bounds = [0, *torch.searchsorted(mean_rows, ends.to(mean_rows.device)).tolist()]
    for table, start, first, last in zip(tables, starts, bounds[:-1], bounds[1:], strict=False):
        rows, values = mean_rows[first:last] - start, mean_values[first:last]
        table.grad = torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=False, is_coalesced=True)


def _gather_of_any_length(rows_R: Tensor, values_RD: Tensor) -> tuple[Tensor, Tensor]:
    """All workers' rows and values in order of rank; workers may have different numbers of them."""
    counts = gather_rows(torch.tensor([len(rows_R)], device=rows_R.device)).tolist()
    longest = max(counts)
    padded_rows, padded_values = rows_R.new_zeros(longest), values_RD.new_zeros(longest, *values_RD.shape[1:])
    padded_rows[: len(rows_R)], padded_values[: len(rows_R)] = rows_R, values_RD
    rows, values = (gather_rows(padded).split(longest) for padded in (padded_rows, padded_values))
    rows = [part[:count] for part, count in zip(rows, counts, strict=True)]
    values = [part[:count] for part, count in zip(values, counts, strict=True)]
    return torch.cat(rows), torch.cat(values)
