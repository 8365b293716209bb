"""From records to a leaderboard: means over seeds, paired tests, what goes with the best, and pictures of all of it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scipy import stats

from towers.sweeps.records import Record, State
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.page import write_leaderboard
from towers.sweeps.results.plots import draw, parameter_importance


def record(number: int, value: float | None, *overrides: str) -> Record:
    result = {
        "training": {"best_value": value, "seconds": 2.0},
        "cost": {"size_mib": 1.5, "user_vector_ms": 0.2},
        "checkpoint": f"/var/checkpoints/{number}",
    }
    epochs = [(epoch, {"ndcg@20": (value or 0.0) * epoch / 3}) for epoch in (1, 2, 3)]
    state = State.finished if value is not None else State.failed
    return Record(
        number=number,
        overrides=[*overrides, "train.epochs=3"],
        state=state,
        result=result if value is not None else None,
        epochs=epochs,
    )


def grid() -> list[Record]:
    """d=8 is best; the second seed is always better; one trial failed."""
    values = {("8", "0"): 0.5, ("8", "1"): 0.6, ("4", "0"): 0.4, ("4", "1"): 0.5, ("2", "0"): 0.45, ("2", "1"): None}
    return [record(n, v, f"d={d}", f"seed={s}") for n, ((d, s), v) in enumerate(values.items())]


def test_points_are_means_over_seeds_best_first() -> None:
    board = Leaderboard.of(grid(), "training.best_value")
    assert board.names == ["d"]
    assert [point.given["d"] for point in board.points] == ["8", "4", "2"]
    assert [point.mean for point in board.points] == pytest.approx([0.55, 0.45, 0.45])
    best, second, third = board.points
    assert best.interval == pytest.approx((0.55 - 12.706 * 0.05, 0.55 + 12.706 * 0.05), abs=1e-3)  # t(.975, 1) = 12.706
    assert (best.p, second.p, third.p, third.interval) == (None, pytest.approx(0.0), None, None)
    assert third.states == "1 finished, 1 failed"
    assert best.costs == {"seconds": 2.0, "MiB": 1.5, "ms": 0.2}


def test_paired_tests_are_corrected_for_how_many_they_are() -> None:
    values = {"8": (0.50, 0.60, 0.55), "4": (0.41, 0.52, 0.45), "2": (0.40, 0.55, 0.39)}
    trials = [record(n, value, f"d={d}", f"seed={n}") for d, seeds in values.items() for n, value in enumerate(seeds)]
    clear, unclear = (float(stats.ttest_rel(values[d], values["8"]).pvalue) for d in ("4", "2"))
    assert clear * 2 < unclear, "or the second would be held up to the first"
    board = Leaderboard.of(trials, "training.best_value")
    assert [(point.given["d"], point.p) for point in board.points] == [
        ("8", None),
        ("4", pytest.approx(2 * clear)),
        ("2", pytest.approx(unclear)),
    ]


def test_the_commands_are_of_the_best_seed() -> None:
    board = Leaderboard.of(grid(), "training.best_value")
    again, published = board.commands("towers.train")
    assert again == "python -m towers.train d=8 seed=1 train.epochs=3"
    assert published == "python -m serve.publish checkpoint=/var/checkpoints/1"
    assert Leaderboard.of(grid(), "training.best_value", maximize=False).points[0].given["d"] == "4"


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ValueError, match="no finished trial has 'metrics.nothing'"):
        Leaderboard.of(grid(), "metrics.nothing")


def test_it_is_written_with_pictures(tmp_path: Path) -> None:
    records = [record(n, 0.1 * n, f"d={n}", "kind=a" if n % 2 else "kind=b") for n in range(1, 8)]
    board = Leaderboard.of(records, "training.best_value")
    images = draw(board, tmp_path, "ndcg@20")
    assert list(images) == [
        "learning curves",
        "parallel coordinates",
        "importance of each parameter",
        "quality against cost",
    ]
    write_leaderboard(board, tmp_path, images, board.commands("towers.train"))
    page = (tmp_path / "leaderboard.html").read_text()
    assert page.count("data:image/png;base64") == 4
    assert pq.read_table(tmp_path / "leaderboard.parquet")["mean"].to_pylist()[0] == pytest.approx(0.7)
    shares = parameter_importance(board)
    assert set(shares) == {"d", "kind"}
    assert shares["d"] > shares["kind"]
