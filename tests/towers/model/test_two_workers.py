"""One loss and one gradient, whatever the number of workers."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from tests.towers.model.test_two_tower import ITEMS, batch, model, windows
from towers.training.distributed import average_gradients
from towers.training.loop import Objective
from towers.training.losses.config import LossConfig

pytestmark = pytest.mark.slow

CASES = [
    *product(("softmax", "bilateral"), (True, False), ("none", "pooled")),
    ("softmax", False, "transformer"),
    ("bilateral", False, "transformer"),
    ("bpr", False, "pooled"),
]
"""Loss, in-batch negatives and history of what two workers compute."""


def gradients(rank: int, workers: int, loss: LossConfig, history: str) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one worker's share of a global batch of 8, averaged over the workers."""
    objective = Objective(loss, counts_I=np.arange(ITEMS))
    towers = model(hidden_dim=16, history=history)
    whole, number = (windows, 4) if history == "transformer" else (batch, 8)
    size = number // workers
    mine = whole(slice(rank * size, (rank + 1) * size))
    value = objective(towers, mine, torch.Generator().manual_seed(1), torch.device("cpu"))
    value.backward()
    average_gradients(towers.parameters())
    return value.item(), {name: p.grad.to_dense() for name, p in towers.named_parameters() if p.grad is not None}


def loss_of(kind: str, in_batch: bool, history: str) -> LossConfig:
    full = history == "transformer" and kind == "softmax"
    return LossConfig(kind=kind, num_uniform=6, num_popular=5, in_batch=in_batch, full=full)


def worker(rank: int, folder: Path) -> None:
    """Computes this worker's share of all cases."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for number, case in enumerate(CASES):
        value, found = gradients(rank, 2, loss_of(*case), case[2])
        save_file({"loss": torch.tensor(value), **found}, folder / f"{number}-{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the loss and the gradients of all cases, as each of two workers has them."""
    folder = tmp_path_factory.mktemp("two-workers")
    mp.start_processes(worker, (folder,), nprocs=2)
    return folder


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: "-".join(map(str, CASES[number])))
def test_two_workers_have_the_loss_and_gradients_of_one(of_two_workers: Path, number: int) -> None:
    case = CASES[number]
    value, wanted = gradients(0, 1, loss_of(*case), case[2])
    found = [load_file(of_two_workers / f"{number}-{rank}.safetensors") for rank in range(2)]
    assert np.mean([f.pop("loss").item() for f in found]) == pytest.approx(value, abs=1e-5)
    for gradients_of_rank in found:
        assert gradients_of_rank.keys() == wanted.keys()
        for name, gradient in wanted.items():
            np.testing.assert_allclose(gradients_of_rank[name], gradient.numpy(), atol=1e-5, err_msg=name)
