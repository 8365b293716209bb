"""Windows of whole histories: every item but a user's first is a target once, with all that came before it in view."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from data.sequences.histories import Sequences
from data.sequences.windows import WindowBatches

LENGTHS = {1: 7, 2: 1, 3: 4, 4: 3}
USERS = np.repeat(list(LENGTHS), list(LENGTHS.values()))
ITEMS = np.arange(1, len(USERS) + 1)
POSITIONS = np.concatenate([np.arange(n) for n in LENGTHS.values()])
TABLE = pa.table({"user_row": USERS, "item_row": ITEMS, "position": POSITIONS}).cast(
    pa.schema([("user_row", pa.int32()), ("item_row", pa.int32()), ("position", pa.int32())])
)


class InMemory:
    """A shard whose blocks come in an order of their own."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def iter_batches(self, **options: object) -> Iterator[pa.Table]:
        half = self.table.num_rows // 2
        yield from (self.table.slice(half), self.table.slice(0, half))


def batches(table: pa.Table = TABLE, **options: object) -> WindowBatches:
    return WindowBatches(InMemory(table), Sequences.of(TABLE, 5), batch_size=2, length=3, **options)


def targets(found: WindowBatches, seed: int = 0) -> list[int]:
    return [int(item) for batch in found.epoch(seed) for item in batch.item_rows.ravel() if item]


def test_every_item_but_the_first_is_a_target_once() -> None:
    firsts = set(ITEMS[POSITIONS == 0].tolist())
    assert sorted(targets(batches())) == sorted(set(ITEMS.tolist()) - firsts)


def test_a_target_follows_its_history() -> None:
    for batch in batches().epoch(0):
        there = batch.history_BL > 0
        assert ((batch.item_rows == batch.history_BL + 1) | ~there).all(), "items are numbered along each history"
        assert (batch.item_rows[~there] == 0).all()


def test_the_number_of_windows_is_known_before() -> None:
    found = batches()
    assert sum(len(batch.user_rows_B) for batch in found.epoch(0)) == found.num_examples() == 2 + 0 + 1 + 1


def test_shards_share_no_target_and_take_equally_many_windows() -> None:
    parts = [TABLE.filter(pa.array(np.arange(len(USERS)) % 2 == rank)) for rank in range(2)]
    found = [targets(batches(part)) for part in parts]
    assert not set(found[0]) & set(found[1])
    assert sorted(found[0] + found[1]) == sorted(targets(batches()))
    limited = batches(smallest_count=lambda count: 1)
    assert sum(len(batch.user_rows_B) for batch in limited.epoch(0)) == 1


def test_windows_that_an_epoch_leaves_out_are_told_and_are_no_steps(caplog: pytest.LogCaptureFixture) -> None:
    """The learning rate fell by steps that nobody took."""
    assert batches().num_examples() == 4
    assert not caplog.text
    assert batches(smallest_count=lambda count: 1, num_workers=2).num_examples() == 2
    assert "has 4 windows of histories and another one 1, so each epoch leaves out 75 % of its own" in caplog.text


def test_the_same_seed_gives_the_same_order() -> None:
    assert targets(batches(), 3) == targets(batches(), 3) != targets(batches(), 4)


def test_batches_hold_windows_of_like_length_and_are_cut_to_the_longest() -> None:
    lengths = [1, 3, 1, 3, 1, 3]
    users = np.repeat(np.arange(1, 7), np.add(lengths, 1))
    positions = np.concatenate([np.arange(n + 1) for n in lengths])
    table = pa.table({"user_row": users, "item_row": users, "position": positions}).cast(TABLE.schema)
    for seed in range(3):
        found = list(WindowBatches(InMemory(table), Sequences.of(table, 7), batch_size=3, length=5).epoch(seed))
        assert {batch.history_BL.shape for batch in found} == {(3, 1), (3, 3)}
