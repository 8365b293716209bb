"""A training with sharded tables that is saved by some workers goes on with another number of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from data.artifacts.folders import Folder
from tests.towers.model.test_tables import CPU, model, share
from tests.towers.model.test_two_tower import ITEMS
from towers.checkpoint.tensor_files import CheckpointError, mapped_tensors, save_tensors
from towers.model.two_tower import TwoTower
from towers.training.distributed import world_size
from towers.training.epochs.shards import (
    SHARD,
    SavedShards,
    divided_weights,
    load_best_of_shards,
    load_shards,
    save_shard,
)
from towers.training.loop import Objective, train_epoch
from towers.training.losses.config import LossConfig
from towers.training.optimizer import Optimizers
from towers.training.progress import Progress


def trained(towers: TwoTower, optimizers: Optimizers, rank: int, epoch: int) -> dict[str, torch.Tensor]:
    """Weights after a step of an epoch, on this worker's share of the batch."""
    objective = Objective(LossConfig(num_uniform=4), np.arange(ITEMS))
    mine = share(rank, world_size(), "pooled")
    generator = torch.Generator().manual_seed(epoch)
    list(train_epoch(towers, optimizers, objective, [mine], generator, CPU, [1.0]))
    return {name: weight.detach().clone() for name, weight in towers.state_dict().items()}


def save_twice(folder: Folder, towers: TwoTower, rank: int) -> None:
    """Saves a state whose latest epoch is the best one, and one whose best epoch is an earlier one."""
    optimizers = Optimizers(towers, 0.05, 0.01)
    first = trained(towers, optimizers, rank, 1)
    save_shard(folder / "first", Progress(epoch=1, best_epoch=1, best_value=0.5), towers, optimizers, first)
    trained(towers, optimizers, rank, 2)
    save_shard(folder / "second", Progress(epoch=2, best_epoch=1, best_value=0.5), towers, optimizers, first)


def save(rank: int, folder: Path, workers: int) -> None:
    in_group(rank, folder, workers)
    save_twice(Folder.of(str(folder / f"of-{workers}")), model("sharded", "pooled"), rank)
    dist.barrier()
    dist.destroy_process_group()


def resume(rank: int, folder: Path, workers: int, saved_by: int) -> None:
    """Resumes what others saved, and saves it again with the step after it."""
    in_group(rank, folder, workers)
    towers = model("sharded", "pooled")
    optimizers = Optimizers(towers, 0.05, 0.01)
    with torch.no_grad():
        for weight in towers.parameters():
            weight.zero_()
    for name, epochs in (("first", (1, 1)), ("second", (2, 1))):
        restored = load_shards(Folder.of(str(folder / f"of-{saved_by}" / name)), towers, optimizers)
        assert restored is not None
        progress, best = restored
        assert (progress.epoch, progress.best_epoch) == epochs
        save_shard(Folder.of(str(folder / f"again-{workers}" / name)), progress, towers, optimizers, best)
    trained(towers, optimizers, rank, 3)
    save_shard(Folder.of(str(folder / f"again-{workers}" / "third")), Progress(3, 3), towers, optimizers, {})
    if rank == 0:  # a part that is not sound on one worker is resumed by none
        spoil(
            Folder.of(str(folder / f"again-{workers}" / "second")), f"optimizer-{workers - 1}-of-{workers}.safetensors"
        )
    dist.barrier()
    assert load_shards(Folder.of(str(folder / f"again-{workers}" / "second")), towers, optimizers) is None
    dist.barrier()
    dist.destroy_process_group()


def in_group(rank: int, folder: Path, workers: int) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store-{workers}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=workers)


def spoil(folder: Folder, file: str) -> None:
    tensors = mapped_tensors(folder, file)
    next(t for name, t in tensors.items() if name.endswith("square"))[-1] = torch.nan
    save_tensors(folder, file, tensors)


def weights_of(folder: Folder) -> dict[str, torch.Tensor]:
    towers = model("sharded", "pooled")
    load_best_of_shards(folder, towers)
    return towers.state_dict()


def close(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0, msg=lambda said, at=name: f"{at}: {said}")


@pytest.mark.slow
@pytest.mark.parametrize(("saved_by", "workers"), [(1, 2), (2, 4)])
def test_another_number_of_workers_goes_on_as_one_process_would(tmp_path: Path, saved_by: int, workers: int) -> None:
    towers = model("whole", "pooled")
    optimizers = Optimizers(towers, 0.05, 0.01)
    wanted = [trained(towers, optimizers, 0, epoch) for epoch in (1, 2, 3)]
    state = optimizers.state()
    saved, again = (Folder.of(str(tmp_path / name)) for name in (f"of-{saved_by}", f"again-{workers}"))
    if saved_by == 1:
        save_twice(saved, model("sharded", "pooled"), 0)
    else:
        mp.start_processes(save, (tmp_path, saved_by), nprocs=saved_by)
    mp.start_processes(resume, (tmp_path, workers, saved_by), nprocs=workers)
    for folder in (saved, again):
        close(weights_of(folder / "first"), wanted[0])
    close(weights_of(saved / "second"), wanted[0])
    close(weights_of(again / "third"), wanted[2])
    alone = model("sharded", "pooled")
    optimizers = Optimizers(alone, 0.05, 0.01)
    assert load_shards(again / "third", alone, optimizers) is not None
    close(optimizers.state(), state)
    file = f"best-0-of-{saved_by}.safetensors"
    assert [file in (saved / name).files() for name in ("first", "second")] == [False, True], (
        "the best may be the latest"
    )


def test_a_worker_writes_its_rows_and_nothing_else(tmp_path: Path) -> None:
    folder, towers, optimizers = one(tmp_path)
    kept = divided_weights(towers)
    assert {name: len(rows) for name, rows in kept.items()} == {
        "user_ids.table.weight": 9,
        "item_ids.table.weight": 13,
        "item_features.tables.words.weight": 8,
    }
    assert kept.keys() < mapped_tensors(folder, "model-0-of-1.safetensors").keys()


def one(folder: Path) -> tuple[Folder, TwoTower, Optimizers]:
    """What one worker, alone, has saved."""
    towers = model("sharded", "pooled")
    save_twice(Folder.of(str(folder)), towers, 0)
    return Folder.of(str(folder)) / "second", towers, Optimizers(towers, 0.05, 0.01)


def test_one_worker_resumes_its_own(tmp_path: Path) -> None:
    folder, towers, optimizers = one(tmp_path)
    wanted = {name: weight.clone() for name, weight in towers.state_dict().items()}
    fresh = model("sharded", "pooled")
    restored = load_shards(folder, fresh, Optimizers(fresh, 0.05, 0.01))
    assert restored is not None and restored[0] == Progress(epoch=2, best_epoch=1, best_value=0.5)
    assert all(torch.equal(weight, wanted[name]) for name, weight in fresh.state_dict().items())


@pytest.mark.parametrize("lost", ["shard-0-of-1.json", "model-0-of-1.safetensors", "optimizer-0-of-1.safetensors"])
def test_a_part_that_is_missing_or_cut_off_is_not_resumed(tmp_path: Path, lost: str) -> None:
    folder, towers, optimizers = one(tmp_path)
    before = {name: weight.clone() for name, weight in towers.state_dict().items()}
    content = folder.read_bytes(lost)
    if lost.endswith(".json"):
        folder.delete_file(lost)
    else:
        folder.write_bytes(lost, content[:-1])
    assert SavedShards.find(folder) is None
    assert load_shards(folder, towers, optimizers) is None
    assert all(torch.equal(weight, before[name]) for name, weight in towers.state_dict().items())
    with pytest.raises(CheckpointError, match="parts of some workers are missing"):
        load_best_of_shards(folder, towers)


def test_parts_of_different_epochs_are_not_one_state(tmp_path: Path) -> None:
    folder, *_ = one(tmp_path)
    saved = folder.read_json("shard-0-of-1.json")
    folder.delete_file("shard-0-of-1.json")
    folder.write_json("shard-0-of-2.json", saved)
    folder.write_json("shard-1-of-2.json", saved | {"progress": saved["progress"] | {"epoch": 1}})
    assert all(SHARD.fullmatch(name) for name in folder.names() if name.endswith(".json"))
    assert SavedShards.find(folder) is None


def test_the_best_weights_must_be_finite_and_of_this_model(tmp_path: Path) -> None:
    folder, towers, _ = one(tmp_path)
    weights = mapped_tensors(folder, "best-0-of-1.safetensors")
    weights["item_ids.table.weight"][3] = torch.inf
    save_tensors(folder, "best-0-of-1.safetensors", weights)
    with pytest.raises(CheckpointError, match=r"item_ids\.table\.weight holds NaN or infinite"):
        load_best_of_shards(folder, towers)
    save_tensors(folder, "best-0-of-1.safetensors", weights | {"other": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="parts of some workers are missing"):  # it has another size now
        load_best_of_shards(folder, towers)
