"""Lists of different lengths: each row has the items of its user, in slices and joined as in the whole."""

import numpy as np
import pyarrow as pa
import pytest

from data.sequences import ragged
from data.sequences.histories import Sequences
from data.sequences.ragged import Ragged

SEQUENCES = Sequences.of(pa.table({"user_row": [1, 1, 1, 3, 3], "item_row": [7, 8, 7, 4, 5]}), 5)


def lists(of: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(of.values_K, np.cumsum(of.lengths_B))[:-1]]


def test_each_row_has_the_items_of_its_user() -> None:
    assert lists(Ragged.items_of(SEQUENCES, np.array([3, 1, 2, 3]))) == [[4, 5], [7, 8, 7], [], [4, 5]]
    assert lists(Ragged.items_of(SEQUENCES, np.array([2]))) == [[]]


def test_of_a_user_with_too_many_items_the_latest_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "MOST", 2)
    assert lists(Ragged.items_of(SEQUENCES, np.array([1, 3]))) == [[8, 7], [4, 5]]


def test_slices_and_what_is_joined_are_those_of_the_rows() -> None:
    whole = Ragged.items_of(SEQUENCES, np.array([1, 2, 3]))
    assert lists(whole[1:]) == [[], [4, 5]]
    assert lists(whole[:1]) == [[7, 8, 7]]
    assert lists(whole[3:]) == lists(whole[2:1]) == []
    assert lists(Ragged.joined([whole[1:], whole[:1]])) == [[], [4, 5], [7, 8, 7]]
