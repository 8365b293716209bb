"""Sharded tables have the loss, the gradients and the training of whole ones, on any number of workers."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from data.dataset.catalogue import Catalogue
from data.sources.schema import Feature, FeatureKind
from tests.towers.model.test_two_tower import DIM, ITEMS, USERS, batch, side, windows
from tests.towers.model.test_two_workers import loss_of
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.tables.sharded import ShardedTable
from towers.model.tables.whole import WholeTable
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.training.distributed import average_gradients, replicated_parameters, sharded_tables
from towers.training.epochs.finite import NotFinite
from towers.training.loop import Objective, train_epoch
from towers.training.optimizer import Optimizers

CPU = torch.device("cpu")
CASES = [
    *product(("softmax", "bilateral"), (True,), ("pooled",)),
    ("softmax", False, "transformer"),
    ("bpr", False, "none"),
]
"""Loss, in-batch negatives and history."""

STEPS = 3


def model(tables: str, history: str, **values: object) -> TwoTower:
    """Towers whose items have words, of which 0 to 3 an item."""
    config = ModelConfig(
        embedding_dim=DIM, id_dropout=0.0, dropout=0.0, history_length=4, history=history, tables=tables, **values
    )
    return build_model(config, side(USERS, unknown=(8,)), with_words(), seed=0)


def with_words() -> TowerInputs:
    feature = Feature(name="words", kind=FeatureKind.multi_categorical, max_values=3)
    words = [[f"w{row * step % 7}" for step in range(1, 1 + row % 4)] for row in range(1, ITEMS)]
    table = pa.table({"words": words})
    encoder = FeatureEncoder.fit(Catalogue("item_id", table, (feature,)))
    return TowerInputs(encoder, encoder.encode(table), (torch.arange(ITEMS) > 0) & (torch.arange(ITEMS) != 11))


def share(rank: int, workers: int, history: str):  # type: ignore[no-untyped-def]
    whole, number = (windows, 4) if history == "transformer" else (batch, 8)
    size = number // workers
    return whole(slice(rank * size, (rank + 1) * size))


def measured(rank: int, workers: int, tables: str, case: tuple[str, bool, str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Loss and gradients of a worker's share of a batch, then weights and vectors after steps of training."""
    objective = Objective(loss_of(*case), counts_I=np.arange(ITEMS))
    towers, mine = model(tables, case[2], hidden_dim=16), share(rank, workers, case[2])
    loss = objective(towers, mine, torch.Generator().manual_seed(1), CPU)
    loss.backward()
    average_gradients(replicated_parameters(towers))
    yield "loss", loss.detach()
    for name, parameter in towers.named_parameters():
        if parameter.grad is not None:
            yield f"gradient {name}", parameter.grad.to_dense()
    optimizers = Optimizers(towers, 0.01, 0.0)
    steps = train_epoch(
        towers, optimizers, objective, [mine] * STEPS, torch.Generator().manual_seed(2), CPU, [1.0] * STEPS
    )
    yield "losses", torch.stack(list(steps))
    yield from ((f"weight {name}", weight.detach()) for name, weight in towers.named_parameters())
    with torch.no_grad():
        yield "vectors", all_item_vectors(towers.eval())


def worker(rank: int, folder: Path, workers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers)
    for number, case in enumerate(CASES):
        found = {name: tensor.contiguous() for name, tensor in measured(rank, workers, "sharded", case)}
        save_file(found, folder / f"{number}-{rank}.safetensors")
    towers = model("sharded", "pooled")
    named = sharded_tables(towers)
    assert named.keys() == {"user_ids.table.weight", "item_ids.table.weight", "item_features.tables.words.weight"}
    whole = model("whole", "pooled").state_dict()
    for name, table in named.items():
        assert torch.equal(table.weight, whole[name][table.stored_S]), "initial values are those of whole tables"
    towers.load_state_dict({name: weight + 1 for name, weight in whole.items()})
    for name, table in named.items():
        assert torch.equal(table.weight, whole[name][table.stored_S] + 1), "a worker takes its rows of whole tables"
    spoil(rank, towers)
    dist.barrier()
    dist.destroy_process_group()


def spoil(rank: int, towers: TwoTower) -> None:
    """A weight that is not finite on one worker ends the training on all of them."""
    if rank == 1:
        with torch.no_grad():
            towers.user_ids.table.weight[-1] = torch.inf
    optimizers, objective = Optimizers(towers, 0.01, 0.0), Objective(loss_of(*CASES[0]), counts_I=np.arange(ITEMS))
    with pytest.raises(NotFinite):
        list(train_epoch(towers, optimizers, objective, [], torch.Generator(), CPU, []))


def whole_rows(parts: list[torch.Tensor]) -> torch.Tensor:
    """The rows of a table of which each worker has every n-th one."""
    rows = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for rank, part in enumerate(parts):
        rows[rank :: len(parts)] = part
    return rows


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def of_workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with what each of the workers has measured, and their number."""
    folder = tmp_path_factory.mktemp(f"{request.param}-workers")
    mp.start_processes(worker, (folder, request.param), nprocs=request.param)
    return folder, request.param


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: "-".join(map(str, CASES[number])))
def test_sharded_tables_train_as_whole_ones_do(of_workers: tuple[Path, int], number: int) -> None:
    folder, workers = of_workers
    wanted = dict(measured(0, 1, "whole", CASES[number]))
    found = [load_file(folder / f"{number}-{rank}.safetensors") for rank in range(workers)]
    assert len({frozenset(f) for f in found}) == 1 and found[0].keys() == wanted.keys()
    for name, value in wanted.items():
        parts = [f[name] for f in found]
        if name.startswith("loss"):
            together = torch.stack(parts).mean(0)
        elif parts[0].shape != value.shape:
            together = whole_rows(parts)
        else:
            together = parts[0]
            assert all(torch.equal(together, part) for part in parts), name
        torch.testing.assert_close(together, value, atol=1e-5, rtol=0, msg=lambda said, at=name: f"{at}: {said}")


@pytest.mark.parametrize("size", [1, 3, 70_000, (1 << 16) + 1])
def test_one_process_alone_has_all_rows(size: int) -> None:
    tables = []
    for kind in (WholeTable, ShardedTable):
        torch.manual_seed(5)
        tables.append(kind(size, 3, 0.1, None))
    assert not tables[1].is_sharded
    assert torch.equal(tables[0].weight, tables[1].weight)
    rows = torch.randint(0, size, (4, 2), dtype=torch.int32)
    assert torch.equal(tables[0](rows), tables[1](rows))
    assert torch.equal(tables[0].means(rows), tables[1].means(rows))
