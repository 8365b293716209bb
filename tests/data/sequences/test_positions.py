"""Positions count from 0 for each user, go on from one split to the next, and are indices into the user's items."""

import numpy as np
import pyarrow as pa

from data.sequences.histories import Sequences
from data.sequences.positions import (
    POSITION,
    continue_positions,
    positions_from_the_end,
    positions_within_users,
    with_positions,
)


def split(users: list[int], items: list[int]) -> pa.Table:
    """The interactions of one split, as preparation writes them."""
    table = pa.table({"user_row": users, "position": [0] * len(users), "item_row": items})
    return with_positions(table, positions_within_users(np.array(users)))


TRAIN = split([1, 1, 1, 2, 4, 4], [11, 12, 13, 21, 41, 42])
VALIDATION = split([1, 2, 2, 3], [14, 22, 23, 31])
NUM_IN_TRAIN = np.array([0, 3, 1, 0, 2])


def test_positions_count_from_0_for_each_user() -> None:
    assert TRAIN["position"].to_pylist() == [0, 1, 2, 0, 0, 1]
    assert TRAIN.schema.field("position") == POSITION


def test_positions_of_a_later_split_continue() -> None:
    continued = continue_positions(VALIDATION, NUM_IN_TRAIN)
    assert continued["position"].to_pylist() == [3, 1, 2, 0]
    assert continued.schema.equals(VALIDATION.schema)


def test_positions_are_indices_into_the_users_items() -> None:
    sequences = Sequences.of(pa.concat_tables([TRAIN, VALIDATION]), num_users=5)
    for table in (TRAIN, continue_positions(VALIDATION, NUM_IN_TRAIN)):
        for row in table.to_pylist():
            assert sequences.of_user(row["user_row"])[row["position"]] == row["item_row"]


def test_positions_from_the_end() -> None:
    users, positions = TRAIN["user_row"].to_numpy(), TRAIN["position"].to_numpy()
    assert positions_from_the_end(users, positions, NUM_IN_TRAIN).tolist() == [2, 1, 0, 0, 1, 0]
