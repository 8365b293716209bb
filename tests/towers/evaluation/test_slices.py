"""Slices: who is in which, and recall within them by hand."""

import numpy as np
import pyarrow as pa
import pytest

from data.sequences.histories import Sequences
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking
from towers.evaluation.slices import deciles, hit_pairs, quartiles, random_recall, recall_in, shares_by_decile, slices

SEEN = Sequences.of(pa.table({"user_row": np.array([1, 1, 2], np.int32), "item_row": np.array([1, 1, 2], np.int32)}), 4)
RELEVANT = (np.array([0, 0, 1, 2]), np.array([2, 5, 5, 3]))
HELD_OUT = HeldOut(np.array([1, 2, 3], np.int32), RELEVANT, SEEN)
USER_COUNTS, ITEM_COUNTS = np.array([0, 2, 1, 0]), np.array([0, 9, 4, 2, 0, 0])
RANKING = Ranking(np.array([[2, 3], [3, 5], [-1, -1]]), np.zeros((3, 2), np.float32), np.ones(3, dtype=bool))


def test_equal_activity_stays_together() -> None:
    assert quartiles(np.array([0, 1, 1, 1, 2, 3, 4, 8])).tolist() == [0, 1, 1, 1, 2, 3, 4, 4]
    assert quartiles(np.array([0, 0])).tolist() == [0, 0]


def test_deciles_are_equal_in_size_ties_by_row() -> None:
    decile_I = deciles(np.array([0, *([5] * 15), *([7] * 5), 0]))
    assert decile_I[[0, -1]].tolist() == [0, 0]
    assert np.bincount(decile_I)[1:].tolist() == [2] * 10
    assert decile_I[1] == 1
    assert decile_I[-2] == 10


def test_slices_by_hand() -> None:
    parts = {part.name: part for part in slices(HELD_OUT, USER_COUNTS, ITEM_COUNTS)}
    hit_N = hit_pairs(RANKING, HELD_OUT, num_items=6, k=2)
    assert hit_N.tolist() == [True, False, True, False]
    assert parts["cold users"].pairs_N.tolist() == [False, False, False, True]
    assert parts["cold items"].pairs_N.tolist() == [False, True, True, False]
    recall = recall_in(parts["cold items"], hit_N, HELD_OUT)
    assert recall[:2].tolist() == [0.0, 1.0]
    assert np.isnan(recall[2]), "user 3 has no cold item to be found"
    assert recall_in(parts["cold users"], hit_N, HELD_OUT)[2] == 0


def test_slices_of_a_group_part_the_relevant_pairs() -> None:
    found = slices(HELD_OUT, USER_COUNTS, ITEM_COUNTS)
    for group in {part.group for part in found}:
        assert sum(part.pairs_N.astype(int) for part in found if part.group == group).tolist() == [1, 1, 1, 1]


def test_chance_is_k_of_the_unseen_items(monkeypatch: pytest.MonkeyPatch) -> None:
    assert random_recall(HELD_OUT, num_items=6, k=2).tolist() == [2 / 4, 2 / 4, 2 / 5]
    assert random_recall(HELD_OUT, num_items=6, k=50).tolist() == [1, 1, 1]
    monkeypatch.setattr("towers.evaluation.slices.BATCH", 2)
    assert random_recall(HELD_OUT, num_items=6, k=2).tolist() == [2 / 4, 2 / 4, 2 / 5]


def test_shares_sum_to_one() -> None:
    shares = shares_by_decile(np.array([0, 6, 1, 1]), np.array([0, 10, 1, 0]))
    assert (len(shares), shares[10], shares[1], shares[0]) == (11, 0.75, 0.125, 0.125)
    assert shares_by_decile(np.zeros(3), np.array([0, 1, 2])) == pytest.approx([0] * 11)
