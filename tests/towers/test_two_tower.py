"""The model: unit vectors, cold ids, and one loss whatever the number of workers."""

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from data.batches import TrainBatch
from towers.build import build
from towers.features import FeatureEncoder
from towers.history import pad
from towers.loop import Objective
from towers.losses import LossConfig
from towers.two_tower import HistoryKind, ModelConfig, Side, TwoTower, all_item_vectors

USERS, ITEMS, DIM = 9, 13, 8


def side(size: int, unknown: tuple[int, ...] = ()) -> Side:
    known = torch.ones(size, dtype=torch.bool)
    known[[0, *unknown]] = False
    encoder = FeatureEncoder((), {}, {})
    return Side(encoder, encoder.encode(pa.table({"row": np.arange(1, size)})), known)


def model(**values: object) -> TwoTower:
    config = ModelConfig(embedding_dim=DIM, id_dropout=0.0, dropout=0.0, history_length=4, **values)
    return build(config, side(USERS, unknown=(8,)), side(ITEMS, unknown=(12,)), seed=0)


def test_vectors_have_length_1() -> None:
    towers = model(hidden_dim=16)
    users = towers.user_vectors(torch.tensor([1, 2]), pad([[1, 2], []], 4))
    items = towers.item_vectors(torch.arange(ITEMS))
    assert users.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert items.norm(dim=1).tolist() == pytest.approx([1] * ITEMS)


def test_an_id_without_training_data_is_the_unknown_one() -> None:
    towers = model()
    items = towers.item_vectors(torch.tensor([0, 12, 3]))
    assert torch.equal(items[0], items[1])
    assert not torch.equal(items[0], items[2])


def test_items_without_training_data_do_not_count_in_a_history() -> None:
    towers = model()
    with_it = towers.user_vectors(torch.tensor([1]), pad([[3, 12]], 4))
    assert torch.equal(with_it, towers.user_vectors(torch.tensor([1]), pad([[3]], 4)))


def test_an_unknown_user_is_known_by_the_history() -> None:
    towers = model()
    users = towers.user_vectors(torch.tensor([8, 8]), pad([[3, 4], [5, 6]], 4))
    assert not torch.equal(users[0], users[1])


def test_history_none_ignores_it() -> None:
    towers = model(history=HistoryKind.none)
    assert torch.equal(*(towers.user_vectors(torch.tensor([1]), pad([h], 4)) for h in ([3], [4])))


def test_the_unknown_item_is_never_retrieved() -> None:
    assert all_item_vectors(model())[0].abs().sum() == 0


def test_pad_keeps_the_latest() -> None:
    assert pad([[1, 2, 3], [4]], 2).tolist() == [[2, 3], [0, 4]]


def batch(at: slice) -> TrainBatch:
    random = np.random.default_rng(3)
    users, items = random.integers(1, USERS, 8), random.integers(1, ITEMS, 8)
    history = random.integers(0, ITEMS, (8, 4))
    return TrainBatch(*(a[at].astype(np.int32) for a in (users, items, history)))


def gradients(rank: int, workers: int, in_batch: bool) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one worker's share of a global batch of 8, as DDP averages them."""
    counts = np.arange(ITEMS)
    objective = Objective(LossConfig(num_uniform=6, in_batch=in_batch), counts)
    towers = model(hidden_dim=16)
    module = torch.nn.parallel.DistributedDataParallel(towers) if workers > 1 else towers
    size = 8 // workers
    mine = batch(slice(rank * size, (rank + 1) * size))
    loss = objective(module, mine, torch.Generator().manual_seed(1), torch.device("cpu"))
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in towers.named_parameters() if p.grad is not None}


def worker(rank: int, file: str, in_batch: bool, out: mp.SimpleQueue) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    loss, found = gradients(rank, 2, in_batch)
    out.put((loss, {name: g.numpy() for name, g in found.items()} if rank == 0 else {}))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("in_batch", [True, False])
def test_two_workers_have_the_loss_and_gradients_of_one(tmp_path, in_batch: bool) -> None:
    loss, wanted = gradients(0, 1, in_batch)
    out = mp.get_context("spawn").SimpleQueue()
    running = mp.start_processes(worker, (str(tmp_path / "store"), in_batch, out), nprocs=2, join=False)
    results = [out.get() for _ in range(2)]
    running.join()
    assert np.mean([result[0] for result in results]) == pytest.approx(loss, abs=1e-5)
    found = next(result[1] for result in results if result[1])
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient.numpy(), atol=1e-5, err_msg=name)
