"""Which point of a leaderboard is the best where some have a value of fewer seeds than others."""

from pathlib import Path

import pytest

from tests.towers.sweeps.results.test_leaderboard import grid, record
from towers.sweeps.records import Record, State
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.page import write_leaderboard


def points(values: dict[str, tuple[float | None, ...]]) -> list[Record]:
    """The trials of points, with the value of each seed; None where training diverged."""
    seeds = [(d, seed, value) for d, of in values.items() for seed, value in enumerate(of)]
    return [record(number, value, f"d={d}", f"seed={seed}") for number, (d, seed, value) in enumerate(seeds)]


def test_a_recipe_that_diverged_with_most_seeds_is_not_the_best(tmp_path: Path) -> None:
    """It would be reproduced and published by the one seed with which it was lucky."""
    values = {"8": (0.9, None, None), "4": (0.5, 0.52, 0.54), "2": (0.4, 0.4, 0.4), "1": (None, None, None)}
    board = Leaderboard.of(points(values), "training.best_value")
    assert [point.given["d"] for point in board.points] == ["4", "2", "8", "1"]
    assert [point.is_complete for point in board.points] == [True, True, False, False]
    assert board.commands("towers.train")[0] == "python -m towers.train d=4 seed=2 train.epochs=3"
    assert board.notes == ["1 of the points have a value of fewer seeds than others, and come after these"]
    write_leaderboard(board, tmp_path, {}, [])
    assert f"<p>{board.notes[0]}</p>" in (tmp_path / "leaderboard.html").read_text()


def test_the_lowest_value_is_not_the_best_either_where_seeds_failed() -> None:
    board = Leaderboard.of(points({"8": (0.1, None), "4": (0.5, 0.6)}), "training.best_value", maximize=False)
    assert [point.given["d"] for point in board.points] == ["4", "8"]


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({"8": (0.9, None), "4": (None, 0.5)}, ["the mean of the best point is that of 1 of its trials alone"]),
        ({"8": (0.9, 0.8), "4": (0.5, 0.6)}, []),
        ({"8": (0.9,), "4": (None,)}, []),
    ],
)
def test_it_is_said_where_the_best_point_lacks_seeds_too(
    values: dict[str, tuple[float | None, ...]], notes: list[str]
) -> None:
    board = Leaderboard.of(points(values), "training.best_value")
    assert board.points[0].given["d"] == "8"
    assert [note.partition(" (")[0] for note in board.notes] == notes


def test_a_point_whose_values_are_all_there_is_complete() -> None:
    assert [point.is_complete for point in Leaderboard.of(grid(), "training.best_value").points] == [True, True, False]


def test_a_ranking_by_a_value_of_the_test_part_says_so() -> None:
    """The command to publish the best point stands beside it."""
    records = [
        Record(number=n, overrides=[f"d={n}"], state=State.finished, result={"reranked": {"ndcg@20": 0.1 * n}})
        for n in range(3)
    ]
    (note,) = Leaderboard.of(records, "reranked.ndcg@20").notes
    assert note.startswith("reranked.ndcg@20 was measured on the test part: whoever takes the best point has chosen")
    assert not Leaderboard.of(records[:1], "reranked.ndcg@20").notes, "nothing is chosen"
