"""What workers exchange so that their number does not change the objective."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def gather_rows(rows_b: Tensor) -> Tensor:
    """All workers' rows [b, ...] -> [b * workers, ...], in order of rank, with gradients flowing back to each.

    Every worker must hold equally many rows.
    """
    if world_size() == 1:
        return rows_b
    if rows_b.requires_grad:
        return torch.cat(all_gather(rows_b))
    parts = [torch.empty_like(rows_b) for _ in range(world_size())]
    dist.all_gather(parts, rows_b.contiguous())
    return torch.cat(parts)
