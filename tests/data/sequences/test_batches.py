"""Histories and batches: who sees what, worked by hand and as properties."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from data.sequences.batches import ShardBatches
from data.sequences.histories import HistoryOrder, Sequences
from data.sequences.others import OtherItems

# user 1: items 11 12 13 14; user 2: 21 22; user 3: nothing
INTERACTIONS = pa.table(
    {"user_row": [1, 1, 1, 1, 2, 2], "item_row": [11, 12, 13, 14, 21, 22], "position": [0, 1, 2, 3, 0, 1]}
)
SEQUENCES = Sequences.of(INTERACTIONS, num_users=4)


class InMemory:
    """A shard as Ray hands it over: its blocks in some order."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def iter_batches(self, batch_size: int | None, **options: object) -> Iterator[pa.Table]:
        size = batch_size or 2
        for start in reversed(range(0, self._table.num_rows, size)):
            yield self._table.slice(start, size)


def test_last_items_are_padded_on_the_left() -> None:
    found = SEQUENCES.last(np.array([1, 2, 3]), 3)
    assert found.tolist() == [[12, 13, 14], [0, 21, 22], [0, 0, 0]]


def test_before_sees_only_the_past() -> None:
    found = SEQUENCES.before(np.array([1, 1, 2]), np.array([0, 2, 1]), 2)
    assert found.tolist() == [[0, 0], [11, 12], [0, 21]]


def test_others_sees_all_but_itself() -> None:
    random = np.random.default_rng(0)
    found = OtherItems.of(SEQUENCES).draw(np.array([1, 2, 1]), np.array([1, 0, 3]), 5, random)
    assert [sorted(set(row.tolist()) - {0}) for row in found] == [[11, 13, 14], [22], [11, 12, 13]]


def test_others_draws_a_window_where_there_are_more() -> None:
    seen = {
        tuple(OtherItems.of(SEQUENCES).draw(np.array([1]), np.array([1]), 2, np.random.default_rng(seed))[0].tolist())
        for seed in range(50)
    }
    assert all(12 not in window and 0 not in window for window in seen)
    assert {item for window in seen for item in window} == {11, 13, 14}


def test_a_single_item_has_no_others() -> None:
    alone = Sequences.of(pa.table({"user_row": [1], "item_row": [7]}), 2)
    drawn = OtherItems.of(alone).draw(np.array([1]), np.array([0]), 3, np.random.default_rng(0))
    assert drawn.tolist() == [[0, 0, 0]]


def test_of_users_is_flat_and_in_order() -> None:
    owner, items = SEQUENCES.of_users(np.array([2, 3, 1]))
    assert owner.tolist() == [0, 0, 2, 2, 2, 2]
    assert items.tolist() == [21, 22, 11, 12, 13, 14]


def test_splits_one_after_the_other_keep_each_users_order() -> None:
    later = pa.table({"user_row": [1], "item_row": [99], "position": [0]})
    assert Sequences.of(pa.concat_tables([INTERACTIONS, later]), 4).of_user(1).tolist() == [11, 12, 13, 14, 99]


def test_an_epoch_is_every_example_once() -> None:
    batches = ShardBatches(InMemory(INTERACTIONS), SEQUENCES, 4, 3, HistoryOrder.before)
    pairs = [
        (user, item)
        for batch in batches.epoch(seed=0)
        for user, item in zip(batch.user_rows_B.tolist(), batch.item_rows.tolist(), strict=True)
    ]
    wanted = list(zip(INTERACTIONS["user_row"].to_pylist(), INTERACTIONS["item_row"].to_pylist(), strict=True))
    assert sorted(pairs) == sorted(wanted)


def test_the_seed_decides_the_order_whatever_order_blocks_came_in() -> None:
    def epoch(table: pa.Table, seed: int) -> list[int]:
        batches = ShardBatches(InMemory(table), SEQUENCES, 2, 3, HistoryOrder.before)
        return [item for batch in batches.epoch(seed) for item in batch.item_rows.tolist()]

    turned = INTERACTIONS.take([5, 3, 1, 0, 2, 4])
    assert epoch(INTERACTIONS, 1) == epoch(turned, 1)
    assert epoch(INTERACTIONS, 1) != epoch(INTERACTIONS, 2)
