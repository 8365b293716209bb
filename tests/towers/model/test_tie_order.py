"""Ties: a seeded permutation, so that equal items take turns from release to release, and keep theirs within one."""

import numpy as np

from towers.model.tie_order import TieOrder, tie_seed


def test_without_a_seed_ties_go_to_the_lower_row() -> None:
    ties = TieOrder.of(5, None)
    assert ties.best_first(np.array([4, 2, 3]), np.array([1.0, 1.0, 2.0])).tolist() == [2, 1, 0]


def test_a_seed_gives_a_permutation_with_row_0_first() -> None:
    ties = TieOrder.of(1000, 7)
    assert sorted(ties.rows_I.tolist()) == list(range(1000))
    assert ties.rank_I[ties.rows_I].tolist() == list(range(1000))
    assert ties.rows_I[0] == 0
    assert abs(np.corrcoef(ties.rank_I, np.arange(1000))[0, 1]) < 0.1, "the order of ids says nothing"


def test_the_seed_comes_from_the_name_and_decides_the_order() -> None:
    one, again, other = (TieOrder.of(100, tie_seed(name)) for name in ("a-1", "a-1", "a-2"))
    assert one.rows_I.tolist() == again.rows_I.tolist() != other.rows_I.tolist()


def test_items_keep_their_order_when_a_catalogue_grows() -> None:
    before, after = TieOrder.of(50, 3), TieOrder.of(80, 3)
    assert after.rows_I[after.rows_I < 50].tolist() == before.rows_I.tolist()


def test_equal_scores_follow_the_order() -> None:
    ties = TieOrder.of(40, 3)
    rows = np.arange(1, 40)
    assert rows[ties.best_first(rows, np.zeros(39))].tolist() == ties.rows_I[1:].tolist()


def test_a_row_that_is_missing_comes_last() -> None:
    ties = TieOrder.of(4, 1)
    by = ties.best_first(np.array([[-1, 2, 3]]), np.array([[-np.inf, 1.0, 5.0]]))
    assert by.tolist() == [[2, 1, 0]]
