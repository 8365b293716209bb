"""Streamed parts: each example once with its own history, many users in each batch, the same for a seed."""

import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from data.sequences import streaming
from data.sequences.batches import ShardBatches, TrainBatch
from data.sequences.buffers import Examples
from data.sequences.feedback import Feedback
from data.sequences.histories import TIME, TYPE, HistoryOrder, Sequences
from data.sequences.streaming import StreamedBatches, StreamedParts
from data.sequences.windows import WindowBatches

USERS_PER_PART, NUM_PARTS, NUM_ITEMS, L = 60, 8, 5_000, 5
RANDOM = np.random.default_rng(0)
LENGTHS_U = RANDOM.integers(1, 25, USERS_PER_PART * NUM_PARTS)
USERS_N = np.repeat(np.arange(1, len(LENGTHS_U) + 1), LENGTHS_U)
NUM_ROWS = len(USERS_N)
NEGATIVES = pa.table(
    {"user_row": [5, 5, 130], "item_row": [1, 2, 3], "time": [1 << 40] * 3, "weight": [2.0, 2.0, 3.0], "type": [1] * 3}
)
LOG = pa.table(
    {
        "user_row": pa.array(USERS_N, pa.int32()),
        "item_row": pa.array(RANDOM.integers(1, NUM_ITEMS, NUM_ROWS), pa.int32()),
        "time": np.arange(NUM_ROWS),
        "weight": RANDOM.random(NUM_ROWS).astype(np.float32),
        "context": pa.array([[str(n)] for n in RANDOM.integers(0, 9, NUM_ROWS)]),
        "type": pa.array(RANDOM.integers(0, 3, NUM_ROWS), pa.int16()),
    }
)


class InParts:
    """A dataset of one split, or of two, the later of which has each user's last interaction."""

    def __init__(self, has_two: bool = False) -> None:
        is_last_N = np.append(USERS_N[1:] != USERS_N[:-1], True)
        self._splits = [LOG.filter(pa.array(~is_last_N)), LOG.filter(pa.array(is_last_N))] if has_two else [LOG]

    def part(
        self, name: str, *splits: str, columns: Collection[str], kinds: Sequence[str] = ("interactions",)
    ) -> pa.Table:
        tables = [NEGATIVES] if kinds == ("others",) else self._splits
        of_part = [t.filter(pa.array((t["user_row"].to_numpy() - 1) // USERS_PER_PART == int(name))) for t in tables]
        return pa.concat_tables(of_part).select([c for c in LOG.column_names if c in columns])


def parts(has_two: bool = False, **options: object) -> StreamedParts:
    sizes = {str(n): int((n == (USERS_N - 1) // USERS_PER_PART).sum()) for n in range(NUM_PARTS)}
    splits = ("train", "validation") if has_two else ("train",)
    return StreamedParts(dataset=InParts(has_two), sizes=sizes, splits=splits, num_items=NUM_ITEMS, **options)  # type: ignore[arg-type]


def single(
    rows: Examples, sequences: Sequences, feedback: Feedback, size: int = 64, with_own_items: bool = False
) -> ShardBatches:
    return ShardBatches(rows, sequences, size, L, HistoryOrder.before, feedback, with_own_items)


def windows(
    rows: Examples, sequences: Sequences, feedback: Feedback, size: int = 16, with_own_items: bool = False
) -> WindowBatches:
    return WindowBatches(rows, sequences, size, L, int, feedback, with_own_items)


def streamed(
    of: StreamedParts, rank: int = 0, num_workers: int = 1, size: int = 64, buffer_rows: int = 10**6
) -> StreamedBatches:
    return StreamedBatches(of, rank, num_workers, partial(single, size=size), size, NUM_ROWS, buffer_rows)


def pairs(batches: list[TrainBatch]) -> list[tuple[int, int]]:
    return [
        pair for b in batches for pair in zip(b.user_rows_B.tolist(), b.item_rows.tolist(), strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("has_two", [False, True])
@pytest.mark.parametrize("buffer_rows", [1000, 10**6])
def test_each_example_comes_once_with_its_history(has_two: bool, buffer_rows: int) -> None:
    whole = Sequences.of(LOG, len(LENGTHS_U) + 1)
    batches = list(streamed(parts(has_two), buffer_rows=buffer_rows).epoch(0))
    assert [len(b.user_rows_B) for b in batches] == [64] * (NUM_ROWS // 64) + [NUM_ROWS % 64]
    assert sorted(pairs(batches)) == sorted(zip(USERS_N.tolist(), LOG["item_row"].to_pylist(), strict=True))
    for batch in batches:
        for user, item, history in zip(batch.user_rows_B, batch.item_rows, batch.history_BL, strict=True):
            items = [0] * L + whole.of_user(user).tolist()
            assert any(items[at - L : at] == history.tolist() for at in range(L, len(items)) if items[at] == item)


def test_what_comes_with_an_example_is_its_own() -> None:
    """Times tell the interactions apart, so weight, context and type are known."""
    of = parts(is_weighted=True, beside=(TIME, TYPE), encode=encoded, negatives=lambda others: others)
    for batch in streamed(of, buffer_rows=2000).epoch(3):
        assert batch.times_BL is not None and batch.types_BL is not None and batch.weights is not None
        last, has_last = batch.times_BL[:, -1], batch.history_BL[:, -1] > 0
        at = np.where(has_last, last + 1, np.searchsorted(USERS_N, batch.user_rows_B))
        assert (LOG["user_row"].to_numpy()[at] == batch.user_rows_B).all()
        assert (LOG["item_row"].to_numpy()[at] == batch.item_rows).all()
        assert (LOG["weight"].to_numpy()[at] == batch.weights).all()
        assert batch.context is not None and (encoded(LOG["context"])[at] == batch.context).all()
        assert (batch.types_BL[has_last, -1] == LOG["type"].to_numpy()[last[has_last]] + 1).all()
        assert batch.negative_rows is not None and batch.negative_weights is not None
        for user, item, weight in zip(batch.user_rows_B, batch.negative_rows, batch.negative_weights, strict=True):
            wanted = {5: {(1, 2.0), (2, 2.0)}, 130: {(3, 3.0)}}.get(int(user), {(0, 0.0)})
            assert (int(item), float(weight)) in wanted


@pytest.mark.parametrize("make", [single, windows])
def test_a_batch_has_all_items_of_its_users(make: Callable[..., ShardBatches | WindowBatches]) -> None:
    """Those that are put together from what buffers leave, too."""
    whole = Sequences.of(LOG, len(LENGTHS_U) + 1)
    of_buffer = partial(make, size=64, with_own_items=True)
    for batch in StreamedBatches(parts(), 0, 1, of_buffer, 64, NUM_ROWS, 1000).epoch(1):
        own = batch.own_items
        assert own is not None and len(own.lengths_B) == len(batch.user_rows_B)
        of_rows = np.split(own.values_K, np.cumsum(own.lengths_B))
        for user, items in zip(batch.user_rows_B, of_rows[:-1], strict=True):
            assert items.tolist() == whole.of_user(user).tolist()


def encoded(context: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return np.array([[int(value[0])] for value in context.to_pylist()])


def test_batches_are_composed_as_those_of_a_permutation() -> None:
    """With a buffer of half the log, a batch has nearly as many users; with one of all, its pairs are no neighbours."""
    permuted = np.random.default_rng(9).permutation(USERS_N)[: NUM_ROWS // 64 * 64].reshape(-1, 64)
    found = np.stack([b.user_rows_B for b in streamed(parts(), buffer_rows=NUM_ROWS // 2).epoch(0)][:-1])
    assert distinct(found) == pytest.approx(distinct(permuted), rel=0.1)
    assert distinct((found - 1) // USERS_PER_PART) > 2, "of several parts"
    everything = np.stack([b.user_rows_B for b in streamed(parts()).epoch(0)][:-1])
    assert distinct(everything) == pytest.approx(distinct(permuted), rel=0.02)
    assert near(everything) == pytest.approx(near(permuted), abs=0.01)


def distinct(values: np.ndarray) -> float:
    """The mean number of distinct values of a batch."""
    return float(np.mean([len(np.unique(row)) for row in values]))


def near(users: np.ndarray) -> float:
    """Share of the pairs of a batch whose users are at most 20 rows apart."""
    return float(np.mean([(abs(row[:, None] - row) <= 20).mean() for row in users]))


def test_parts_come_in_another_order_in_each_epoch() -> None:
    """Otherwise the first users of the log would always be the first that are trained on."""
    firsts = {
        int(next(iter(streamed(parts(), buffer_rows=300).epoch(seed))).user_rows_B[0]) // USERS_PER_PART
        for seed in range(9)
    }
    assert len(firsts) > 3


def test_the_seed_alone_decides_the_batches() -> None:
    """A training that resumes in the third epoch reads what it would have read."""
    once = streamed(parts(), buffer_rows=2000)
    for seed in (0, 1):
        assert pairs(list(once.epoch(seed))) == pairs(list(streamed(parts(), buffer_rows=2000).epoch(seed)))
    assert pairs(list(once.epoch(0))) != pairs(list(once.epoch(1)))


def test_a_buffer_is_gone_before_the_next_is_read() -> None:
    held: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    class Watched(InParts):
        def part(self, name: str, *splits: str, columns: Collection[str], kinds: Sequence[str] = ()) -> pa.Table:
            alive.append(sum(items() is not None for items in held))
            return super().part(name, *splits, columns=columns, kinds=kinds)

    def of_buffer(rows: Examples, sequences: Sequences, feedback: Feedback) -> ShardBatches:
        held.append(weakref.ref(sequences.items_N))
        return single(rows, sequences, feedback)

    of = replace(parts(), dataset=Watched())
    assert len(pairs(list(StreamedBatches(of, 0, 1, of_buffer, 64, NUM_ROWS, 1000).epoch(0)))) == NUM_ROWS
    assert len(held) > 3 and max(alive) == 0


@pytest.mark.parametrize("num_workers", [2, 3, 7])
def test_workers_have_equal_shares_that_do_not_overlap(num_workers: int) -> None:
    of = parts(beside=(TIME,))
    shares = [list(streamed(of, rank, num_workers, buffer_rows=1500).epoch(5)) for rank in range(num_workers)]
    assert len({len(share) for share in shares}) == 1, "all take the same number of steps"
    assert {sum(len(b.user_rows_B) for b in share) for share in shares} == {NUM_ROWS // num_workers}
    found = [pair for share in shares for pair in pairs(share)]
    log = list(zip(USERS_N.tolist(), LOG["item_row"].to_pylist(), strict=True))
    assert all(found.count(pair) <= log.count(pair) for pair in set(found[:500]))


@pytest.mark.parametrize("buffer_rows", [1000, 10**6])
def test_windows_are_those_of_the_whole_log(buffer_rows: int) -> None:
    whole = Sequences.of(LOG, len(LENGTHS_U) + 1)
    log = LOG.append_column("position", pa.array(np.arange(NUM_ROWS) - np.searchsorted(USERS_N, USERS_N)))
    rows = Examples(*(log[name].to_numpy() for name in ("user_row", "item_row", "position")))
    wanted = WindowBatches(rows, whole, 16, L).epoch(0)
    found = StreamedBatches(parts(), 0, 1, windows, 16, 0, buffer_rows).epoch(0)
    assert sorted(map(str, targets(list(found)))) == sorted(map(str, targets(list(wanted))))


def targets(batches: list[TrainBatch]) -> list[list[int]]:
    """User, history and targets of each window, without padding."""
    return [
        [int(user), *[int(i) for i in history if i], -1, *[int(i) for i in items if i]]
        for b in batches
        for user, history, items in zip(b.user_rows_B, b.history_BL, b.item_rows, strict=True)
    ]


def test_an_empty_log_has_no_batches() -> None:
    assert list(streamed(replace(parts(), sizes={})).epoch(0)) == []


def test_a_buffer_is_smaller_where_negatives_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had so many positives whatever their users' negatives, which may be fifty for each of them."""
    monkeypatch.setattr(streaming, "BUFFER_ROWS", 4_000)
    largest = max(parts().sizes.values())
    assert largest < 1_000 < 4_000 < NUM_ROWS
    assert parts().buffer_rows == 4_000
    assert parts(num_negatives=NUM_ROWS).buffer_rows == 2_000
    assert parts(num_negatives=50 * NUM_ROWS).buffer_rows == largest, "a part is read for few buffers"
    monkeypatch.setattr(streaming, "BUFFER_ROWS", 100)
    assert parts(num_negatives=1).buffer_rows == 100
