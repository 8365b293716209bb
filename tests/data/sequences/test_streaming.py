"""Streamed rows: all of them, in another order in each epoch, and many users in each batch."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from data.sequences.streaming import StreamedRows, TrainFiles

USERS_PER_FILE, PER_USER, NUM_FILES, ROW_GROUP = 100, 20, 4, 500
NUM_ROWS = NUM_FILES * USERS_PER_FILE * PER_USER


@pytest.fixture
def files(tmp_path: Path) -> TrainFiles:
    """Files as a prepared dataset has them: sorted by user, of whole users, with row groups of 25 users."""
    paths = []
    for part in range(NUM_FILES):
        users = part * USERS_PER_FILE + np.repeat(np.arange(USERS_PER_FILE), PER_USER)
        positions = np.tile(np.arange(PER_USER), USERS_PER_FILE)
        columns = {"user_row": users, "item_row": 1000 * users + positions, "position": positions}
        table = pa.table({name: pa.array(values, pa.int32()) for name, values in columns.items()})
        paths.append(f"{tmp_path}/part-{part}.parquet")
        pq.write_table(table, paths[-1], row_group_size=ROW_GROUP)
    return TrainFiles(fs.LocalFileSystem(), (paths,))


def epoch(rows: StreamedRows, seed: int, size: int = 64) -> list[np.ndarray]:
    """The users of each batch."""
    return [users for users, _, _ in rows.batches(size, seed)]


def test_each_row_comes_once_and_only_the_last_batch_is_smaller(files: TrainFiles) -> None:
    batches = list(StreamedRows(files, buffer_rows=2000).batches(60, seed=0))
    assert [len(users) for users, _, _ in batches] == [60] * 133 + [20]
    users, items, positions = map(np.concatenate, zip(*batches, strict=True))
    assert (items == 1000 * users + positions).all(), "the columns stay together"
    assert len(np.unique(items)) == len(items) == NUM_ROWS


def test_a_batch_mixes_as_many_users_as_rows_drawn_at_random(files: TrainFiles) -> None:
    """64 of 400 users' rows drawn at random are of 59 users; read in the order of the files, they would be of 4."""
    everything = np.mean([len(np.unique(users)) for users in epoch(StreamedRows(files), 0)])
    assert everything == pytest.approx(400 * (1 - (1 - 1 / 400) ** 64), abs=1.5)
    quarter = StreamedRows(files, buffer_rows=NUM_ROWS // 4)
    found = [users for users in epoch(quarter, 0) if len(users) == 64]
    assert np.mean([len(np.unique(users)) for users in found]) > 40
    assert np.mean([len(np.unique(users // USERS_PER_FILE)) for users in found]) > 2, "of several files"


def test_row_groups_come_in_another_order_in_each_epoch(files: TrainFiles) -> None:
    """Otherwise the first users of the log would always be the first that are trained on."""
    small = StreamedRows(files, buffer_rows=ROW_GROUP)
    firsts = {frozenset(np.unique(epoch(small, seed)[0])) for seed in range(10)}
    assert len(firsts) > 3


def test_the_seed_alone_decides_the_order(files: TrainFiles) -> None:
    """A training that resumes in the third epoch reads what it would have read."""
    again = StreamedRows(files, buffer_rows=2000)
    for seed in (0, 1, 2):
        wanted = epoch(again, seed)
        found = epoch(StreamedRows(files, buffer_rows=2000), seed)
        assert all(np.array_equal(a, b) for a, b in zip(wanted, found, strict=True))
    assert not np.array_equal(epoch(again, 0)[0], epoch(again, 1)[0])


@pytest.mark.parametrize("num_workers", [2, 3, 7])
def test_workers_have_equal_shares_that_do_not_overlap(files: TrainFiles, num_workers: int) -> None:
    shares = [list(StreamedRows(files, rank, num_workers).batches(64, seed=5)) for rank in range(num_workers)]
    assert len({len(share) for share in shares}) == 1, "all take the same number of steps"
    items = [np.concatenate([items for _, items, _ in share]) for share in shares]
    assert {len(of_worker) for of_worker in items} == {NUM_ROWS // num_workers}
    assert len(np.unique(np.concatenate(items))) == NUM_ROWS // num_workers * num_workers


def test_positions_of_a_second_split_continue(files: TrainFiles, tmp_path: Path) -> None:
    later = {"user_row": [7, 7, 300], "item_row": [-1, -2, -3], "position": [0, 1, 0]}
    pq.write_table(pa.table({k: pa.array(v, pa.int32()) for k, v in later.items()}), tmp_path / "later.parquet")
    both = TrainFiles(
        files.filesystem,
        (*files.paths, [f"{tmp_path}/later.parquet"]),
        (np.zeros(400, np.int64), np.full(400, PER_USER)),
    )
    users, items, positions = map(np.concatenate, zip(*StreamedRows(both).batches(64, 0), strict=True))
    assert len(items) == NUM_ROWS + 3
    assert sorted(zip(users[items < 0], positions[items < 0], strict=True)) == [(7, 20), (7, 21), (300, 20)]
