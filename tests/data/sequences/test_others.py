"""Histories of all other items: where a user has the target more than once, none of its positions is among them."""

import numpy as np
import pyarrow as pa
import pytest

from data.sequences.batches import ShardBatches
from data.sequences.histories import HistoryOrder, Sequences
from data.sequences.others import OtherItems
from tests.data.sequences.test_batches import InMemory

# user 1: items 11 12 11 13 11; user 2: 21 21; user 3: nothing; user 4: 41
INTERACTIONS = pa.table(
    {
        "user_row": [1, 1, 1, 1, 1, 2, 2, 4],
        "item_row": [11, 12, 11, 13, 11, 21, 21, 41],
        "position": [0, 1, 2, 3, 4, 0, 1, 0],
    }
)
OTHERS = OtherItems.of(Sequences.of(INTERACTIONS, num_users=5))


def draw(others: OtherItems, user: int, position: int, length: int, seed: int = 0) -> list[int]:
    found = others.draw(np.array([user]), np.array([position]), length, np.random.default_rng(seed))
    return found[0].tolist()


@pytest.mark.parametrize("position", [0, 2, 4])
def test_no_position_of_the_target_is_in_its_history(position: int) -> None:
    assert sorted(draw(OTHERS, 1, position, 3)) == [0, 12, 13]


def test_repeats_of_other_items_stay() -> None:
    assert sorted(draw(OTHERS, 1, 1, 5)) == [0, 11, 11, 11, 13]


def test_padding_is_on_the_right() -> None:
    assert draw(OTHERS, 1, 0, 4)[2:] == [0, 0]


def test_a_user_who_has_but_the_target_has_no_history() -> None:
    assert draw(OTHERS, 2, 0, 3) == draw(OTHERS, 2, 1, 3) == draw(OTHERS, 4, 0, 3) == [0, 0, 0]


def test_a_window_is_drawn_from_all_that_is_left() -> None:
    windows = [draw(OTHERS, 1, 1, 2, seed) for seed in range(60)]
    assert {item for window in windows for item in window} == {11, 13}
    assert [11, 13] in windows
    assert [11, 11] in windows


def random_log(num_items: int) -> tuple[Sequences, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    users = np.sort(random.integers(1, 50, 4000))
    items = random.integers(1, num_items + 1, 4000) if num_items < 4000 else np.arange(1, 4001)
    sequences = Sequences.of(pa.table({"user_row": users, "item_row": items}), 50)
    positions = np.concatenate([np.arange(n) for n in sequences.lengths_U])
    return sequences, users, items, positions


@pytest.mark.parametrize("length", [3, 40, 300])
def test_histories_of_a_random_log_with_repeats(length: int) -> None:
    sequences, users, items, positions = random_log(15)
    found = OtherItems.of(sequences).draw(users, positions, length, np.random.default_rng(1))
    assert not (found == items[:, None]).any()
    for at in range(0, len(users), 13):
        left = [item for item in sequences.of_user(users[at]).tolist() if item != items[at]]
        drawn = [item for item in found[at].tolist() if item]
        assert len(drawn) == min(length, len(left))
        doubled = " ".join(map(str, left + left))
        assert " ".join(map(str, drawn)) in doubled, "a window of what is left, which may wrap around"


@pytest.mark.parametrize("length", [3, 40, 300])
def test_without_repeats_histories_are_what_they_were(length: int) -> None:
    """The formula of before, which left out the position alone."""
    sequences, users, _, positions = random_log(10_000)
    random, lengths = np.random.default_rng(1), sequences.lengths_U[users]
    count = np.maximum(lengths - 1, 1)[:, None]
    start = (random.random((len(users), 1)) * count).astype(np.int64)
    within = (positions[:, None] + 1 + (start + np.arange(length)) % count) % (count + 1)
    wanted = sequences.take(users, within, np.arange(length) < lengths[:, None] - 1)
    assert np.array_equal(OtherItems.of(sequences).draw(users, positions, length, np.random.default_rng(1)), wanted)


def test_batches_leave_the_target_out() -> None:
    sequences = Sequences.of(INTERACTIONS, num_users=5)
    batches = ShardBatches(InMemory(INTERACTIONS), sequences, 3, 4, HistoryOrder.others)
    for batch in batches.epoch(seed=0):
        assert not (batch.history_BL == batch.item_rows[:, None]).any()
