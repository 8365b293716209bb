"""Validation by any number of workers has the values of one, and no worker sees more of the items than a block."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.sequences.histories import Sequences
from tests.data.dataset.test_preparation import written
from tests.towers.model.test_tables import model
from tests.towers.model.test_two_tower import ITEMS, USERS
from towers.evaluation.measure import measure
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import QueryVectors, embed, retrieve
from towers.model.tie_order import TieOrder
from towers.model.two_tower import all_item_vectors
from towers.training.epochs.validation import places_any, retrieve_from_blocks, validation_metrics
from towers.training.fit import train

KS, BATCH = [1, 3, 10], 3
COUNTS = np.arange(ITEMS)


def queries(users: int, items: int, num_queries: int, seed: int) -> HeldOut:
    """Users with some relevant items each, and what they have seen before."""
    random = np.random.default_rng(seed)
    pairs = sorted({(int(u), int(i)) for u, i in random.integers([0, 1], [users, items], (4 * users, 2))})
    log = {
        name: np.array(column, np.int32)
        for name, column in zip(("user_row", "item_row"), zip(*pairs, strict=True), strict=True)
    }
    rows_Q = np.sort(random.choice(users, num_queries, replace=False)).astype(np.int32)
    relevant = np.repeat(np.arange(num_queries), 2), random.integers(1, items, 2 * num_queries)
    return HeldOut(rows_Q, relevant, Sequences.of(pa.table(log), users))


@pytest.mark.parametrize("size", [1, 7, 64, 130, 500])
@pytest.mark.parametrize("k", [5, 70])
def test_items_that_come_in_blocks_are_ranked_as_all_at_once(size: int, k: int) -> None:
    """With ties within and across blocks, seen items in each of them, and users whom the towers do not know."""
    num_items, random = 300, np.random.default_rng(size)
    held_out = queries(30, num_items, 20, seed=size)
    user_QD = torch.from_numpy(random.integers(0, 2, (20, 8)).astype(np.float32))
    vectors = QueryVectors(user_QD, torch.arange(20) % 5 > 0)
    item_ID = torch.from_numpy(random.integers(0, 2, (num_items, 8)).astype(np.float32))
    counts_I = random.integers(0, 9, num_items)
    ties = TieOrder.of(num_items, seed=num_items)
    found = retrieve_from_blocks(vectors, held_out, counts_I, ties, item_ID[ties.rows_I].split(size), 7, k)
    wanted = retrieve(vectors, held_out, counts_I, item_ID, 7, k, ties)
    for name in ("rows_QK", "scores_QK", "by_towers_Q"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name


TIES = TieOrder.of(ITEMS, seed=5)

CASES = [(tables, history, num) for tables, history in (("whole", "pooled"), ("sharded", "pooled")) for num in (1, 6)]
"""Tables, history, and number of queries: one is less than the workers."""


def metrics(tables: str, history: str, num_queries: int) -> dict[str, float]:
    held_out = queries(USERS, ITEMS, num_queries, seed=num_queries)
    return validation_metrics(model(tables, history), held_out, COUNTS, TIES, KS, BATCH)


def worker(rank: int, folder: Path, workers: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers)
    (folder / f"{rank}.json").write_text(json.dumps([metrics(*case) for case in CASES]))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_every_number_of_workers_measures_the_same(tmp_path: Path, workers: int) -> None:
    mp.start_processes(worker, (tmp_path, workers), nprocs=workers)
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(workers)]
    assert all(of_worker == found[0] for of_worker in found), "all workers must stop at the same epoch"
    for case, of_case in zip(CASES, found[0], strict=True):
        assert of_case == pytest.approx(metrics(*case), abs=1e-12), case
        assert any(of_case.values()), "something must be found"


def test_one_worker_measures_what_evaluation_does() -> None:
    towers, held_out = model("whole", "pooled"), queries(USERS, ITEMS, 6, seed=6)
    found = retrieve(embed(towers, held_out, BATCH), held_out, COUNTS, all_item_vectors(towers), BATCH, ties=TIES)
    assert metrics("whole", "pooled", 6) == pytest.approx(measure(found, held_out, ITEMS, KS), abs=1e-12)


def test_towers_place_users_with_a_history_or_an_id_alone() -> None:
    towers, held_out = model("whole", "pooled"), queries(USERS, ITEMS, 6, seed=6)
    assert places_any(towers, held_out, BATCH)
    nothing = Sequences.nothing(USERS)
    assert places_any(towers, replace(held_out, seen=nothing), BATCH), "by their ids"
    unknown = replace(held_out.take(np.array([0])), user_rows_Q=np.zeros(1, np.int32), seen=nothing)
    assert not places_any(towers, unknown, BATCH)


@pytest.mark.slow
def test_sessions_that_nobody_comes_back_to_choose_no_epoch(ray_session: None, tmp_path: Path) -> None:
    """All epochs had the value of popular items: a training ended after four, with the weights of the first."""
    sessions, items = np.repeat(np.arange(60), 4), np.random.default_rng(0).integers(0, 12, 240)
    times = (1_600_000_000 + np.arange(240)).tolist()
    log = written(tmp_path, user_id=sessions.astype(str).tolist(), item_id=items.astype(str).tolist(), time=times)
    small = ["model.embedding_dim=8", "train.epochs=6", "train.patience=3", "evaluate.baselines=[]", "tracking=off"]
    config = load([*log, "data.split.kind=temporal", *small, f"storage.root={tmp_path}/var"])
    storage = Folder.of(config.storage.root)
    dataset = prepare(config.data, storage)
    assert any("users of the validation part have no interaction before it" in note for note in dataset.notes)
    found = train(config, dataset, storage).manifest["training"]
    assert (found["epoch"], found["best_epoch"]) == (6, 6)
