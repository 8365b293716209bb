"""The exchange of gradients between workers, by real processes: the mean, of the touched rows alone."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import nn

from towers.training.distributed import average_gradients, global_weight
from towers.training.epochs.epoch import _mean_loss

SIZES = {"ids": (50, 4), "words": (1000, 4), "wide": (7, 6)}
TOUCHED = {"ids": ([3, 3, 9], [9]), "words": ([0, 999, 5, 6], [5, 5]), "wide": ([1], [2, 6, 6])}
"""Rows that each of the two workers looks up; both may have the same ones, and a worker has some more than once."""


def module(rank: int) -> nn.ModuleDict:
    torch.manual_seed(0)
    tables = nn.ModuleDict({name: nn.Embedding(*size, sparse=True) for name, size in SIZES.items()})
    tables["linear"] = nn.Linear(4, 1)
    for name, rows in TOUCHED.items():
        (tables[name](torch.tensor(rows[rank])) * (rank + 2)).square().sum().backward()
    tables["linear"](torch.full((1, 4), rank + 1.0)).sum().backward()
    return tables


def exchange(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    tables = module(rank)
    average_gradients(tables.parameters())
    found = {name: p.grad.to_dense() for name, p in tables.named_parameters() if p.grad is not None}
    named = {f"rows.{name}": tables[name].weight.grad.indices()[0] for name in SIZES}
    weight, of_weights = global_weight(torch.tensor(rank + 1)), global_weight(torch.tensor(rank + 1.0))
    assert isinstance(weight, torch.Tensor) and isinstance(of_weights, torch.Tensor)
    loss = torch.tensor(_mean_loss(iter(torch.tensor([[1.0, 3.0], [5.0, 9.0]])[rank])))
    others = {"weight": weight, "weight of weights": of_weights, "loss": loss}
    save_file({**found, **named, **others}, folder / f"{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


def test_gradients_are_the_mean_and_name_the_rows_that_a_worker_touched(tmp_path: Path) -> None:
    mp.start_processes(exchange, (tmp_path,), nprocs=2)
    of_workers = [dict(module(rank).named_parameters()) for rank in range(2)]
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        for name in of_workers[0]:
            wanted = sum(p[name].grad.to_dense() for p in of_workers) / 2
            torch.testing.assert_close(found[name], wanted)
        for name, rows in TOUCHED.items():
            assert found[f"rows.{name}"].tolist() == sorted({*rows[0], *rows[1]})
        assert found["weight"].item() == pytest.approx((rank + 1) * 2 / 3)
        assert found["weight of weights"].item() == pytest.approx((rank + 1) * 2 / 3)
        assert found["loss"].item() == 4.5, "an epoch's loss is that of all workers' positives"
