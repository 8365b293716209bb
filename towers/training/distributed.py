"""Exchange between workers that makes the training objective independent of their number.

Everything also works in a single process without torch.distributed. Shape legend: b rows of this worker.
"""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather


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


def global_weight(count: int, device: torch.device) -> float:
    """The weight of a mean over `count` entries by which the average over workers is the mean over all entries.

    It is count * workers / sum of all workers' counts.
    """
    if world_size() == 1:
        return 1.0
    total = torch.tensor(float(count), device=device)
    dist.all_reduce(total)
    return count * world_size() / max(total.item(), 1.0)


def all_reduce_min(count: int) -> int:
    """The smallest of all workers' counts."""
    if world_size() == 1:
        return count
    smallest = torch.tensor(count, device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(smallest, dist.ReduceOp.MIN)
    return int(smallest)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over all workers: sparse ones row by row, dense ones as one flat tensor."""
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    dense = [g for g in gradients if not g.is_sparse]
    for gradient in gradients:
        if gradient.is_sparse:
            _average_rows(gradient)
    if dense:
        flat = torch.cat([g.reshape(-1) for g in dense])
        dist.all_reduce(flat)
        for gradient, mean in zip(dense, (flat / world_size()).split([g.numel() for g in dense]), strict=True):
            gradient.copy_(mean.reshape(gradient.shape))


def _average_rows(gradient: Tensor) -> None:
    """Replaces a sparse gradient, in place, by the mean of all workers' sparse gradients."""
    own = gradient.coalesce()
    count = torch.tensor([own.values().shape[0]], device=gradient.device)
    counts = [torch.empty_like(count) for _ in range(world_size())]
    dist.all_gather(counts, count)
    longest = int(max(counts))
    rows = own.indices()[0].new_zeros(longest)
    values = own.values().new_zeros(longest, *own.values().shape[1:])
    rows[:count], values[:count] = own.indices()[0], own.values() / world_size()
    all_rows, all_values = gather_rows(rows), gather_rows(values)  # padding adds zero to row 0
    gradient.copy_(torch.sparse_coo_tensor(all_rows[None], all_values, gradient.shape).coalesce())
