"""What batches say of their positives: weights, and items that the same user does not want."""

import numpy as np
import pyarrow as pa

from data.sequences.batches import ShardBatches
from data.sequences.feedback import ExplicitNegatives, Feedback
from data.sequences.histories import HistoryOrder, Sequences
from tests.data.sequences.test_windows import ITEMS, TABLE, USERS, InMemory, batches

WEIGHTS = (10 * ITEMS).astype(np.float32)


def interactions(users: list[int], items: list[int], times: list[int]) -> pa.Table:
    weights = pa.array([float(item) for item in items], pa.float32())
    return pa.table({"user_row": users, "item_row": items, "time": times, "weight": weights})


def test_each_positive_comes_with_its_own_weight() -> None:
    found = ShardBatches(
        InMemory(TABLE), Sequences.of(TABLE, 5), 4, 2, HistoryOrder.before, Feedback(weights_N=WEIGHTS)
    )
    for batch in found.epoch(0):
        assert batch.weights is not None
        assert batch.weights.tolist() == [10.0 * item for item in batch.item_rows]
    for batch in batches(feedback=Feedback(weights_N=WEIGHTS)).epoch(0):
        there = batch.item_rows > 0
        assert batch.weights is not None and batch.weights.shape == batch.item_rows.shape
        assert batch.weights[there].tolist() == (10.0 * batch.item_rows[there]).tolist()


def test_negatives_are_drawn_from_those_of_the_user() -> None:
    negatives = ExplicitNegatives.of(
        interactions([1, 1, 3], [20, 21, 22], [0, 0, 0]), interactions([], [], []), num_users=5, num_items=30
    )
    users = np.array([[1] * 50, [2] * 50, [3] * 50])
    rows, weights = negatives.draw(users, np.random.default_rng(0))
    assert [set(row.tolist()) for row in rows] == [{20, 21}, {0}, {22}]
    assert (weights == rows).all()
    for batch in batches(feedback=Feedback(negatives=negatives)).epoch(0):
        assert batch.negative_rows is not None and batch.negative_rows.shape == batch.item_rows.shape
        assert set(batch.negative_rows[batch.user_rows_B == 3].ravel()) <= {22}


def test_a_later_positive_takes_a_negative_back() -> None:
    positives = interactions([1, 1, 2], [20, 21, 20], [5, 5, 9])
    found = ExplicitNegatives.of(
        interactions([1, 1, 1, 2], [20, 21, 22, 21], [4, 6, 6, 1]), positives, num_users=3, num_items=30
    )
    assert [found.sequences.of_user(user).tolist() for user in (1, 2)] == [[21, 22], [21]]


def test_a_log_of_equal_positives_gives_batches_without_weights() -> None:
    (batch, *_) = ShardBatches(InMemory(TABLE), Sequences.of(TABLE, 5), 4, 2, HistoryOrder.before).epoch(0)
    assert (batch.weights, batch.negative_rows, batch.negative_weights) == (None, None, None)
    assert len(USERS) == len(ITEMS)
