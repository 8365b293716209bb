"""From records to a leaderboard: means over seeds, paired tests, what goes with the best, and pictures of all of it."""

import math
import shlex
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from scipy import stats

from conf.schema import load
from tests.towers.sweeps.results.shell import composed_in_a_shell
from towers.sweeps.launch import config_options
from towers.sweeps.records import Record, Records, State
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.page import write_leaderboard
from towers.sweeps.results.plots import draw, parameter_importance
from towers.sweeps.results.summary import read_board


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


def test_a_parameter_that_the_best_point_was_not_given_is_a_column_too(tmp_path: Path) -> None:
    """As train.epochs, which only the points have that a search has tried for longer, or what an ablation changes."""
    values = {("d=8",): 0.5, ("d=4", "loss.exponent=2"): 0.4}
    board = Leaderboard.of([record(n, v, *of) for n, (of, v) in enumerate(values.items())], "training.best_value")
    write_leaderboard(board, tmp_path, {}, [])
    columns = pq.read_table(tmp_path / "leaderboard.parquet").to_pydict()
    assert (columns["d"], columns["loss.exponent"]) == (["8", "4"], [None, "2"])


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


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, "text", True, None])
def test_what_is_not_a_finite_number_is_last_and_never_best(bad: object, maximize: bool) -> None:
    def of(number: int, loss: object) -> Record:
        result = {"training": {"loss": loss}}
        return Record(number=number, overrides=[f"a={number}"], state=State.finished, result=result)

    board = Leaderboard.of([of(0, bad), of(1, 0.1), of(2, 0.2)], "training.loss", maximize)
    assert [point.given["a"] for point in board.points] == (["2", "1", "0"] if maximize else ["1", "2", "0"])
    assert board.points[-1].mean is None
    assert board.points[-1].best is None
    assert board.points[-1].states == "1 finished, 1 without a finite value"
    assert board.commands("m") == [f"python -m m a={2 if maximize else 1}"]
    with pytest.raises(ValueError, match="no finished trial has 'training.loss'"):
        Leaderboard.of([of(0, bad)], "training.loss", maximize)


def test_a_seed_that_diverged_does_not_count_in_the_mean() -> None:
    records = [record(0, 0.5, "d=8", "seed=0"), record(1, math.nan, "d=8", "seed=1"), record(2, 0.4, "d=4", "seed=0")]
    best, _ = Leaderboard.of(records, "training.best_value").points
    assert (best.mean, best.values) == (0.5, {"0": 0.5})
    assert best.states == "2 finished, 1 without a finite value"


@pytest.mark.parametrize(
    ("metric", "objectives", "best"),
    [
        ("training.loss", None, "2"),
        ("cost.size_mib", None, "2"),
        ("training.best_value", None, "1"),
        ("training.loss", [{"metric": "training.best_value", "direction": "maximize"}], "2"),
        ("training.loss", [{"metric": "training.loss", "direction": "maximize"}], "1"),
        ("training.seconds", [{"metric": "v"}, {"metric": "training.seconds", "direction": None}], "2"),
        ("x", [{"metric": "v"}, {"metric": "x", "direction": "minimize"}], "2"),
        (None, [{"metric": "training.loss", "direction": None}], "2"),
    ],
)
def test_the_best_has_the_lowest_loss_time_or_size_and_the_highest_of_anything_else(
    tmp_path: Path, metric: str | None, objectives: list[dict[str, str | None]] | None, best: str
) -> None:
    """Trial 1 has the higher value of everything."""
    for number, value in ((1, 0.9), (2, 0.1)):
        of_training = {"best_value": value, "loss": value, "seconds": value}
        result = {"training": of_training, "cost": {"size_mib": value}, "x": value, "v": value}
        Records(tmp_path).add(Record(number=number, overrides=[f"a={number}"], state=State.finished, result=result))
    if objectives is not None:
        OmegaConf.save({"hydra": {"sweeper": {"objectives": objectives}}}, tmp_path / "multirun.yaml")
    board, _ = read_board(tmp_path, metric)
    assert board.points[0].given["a"] == best
    assert board.commands("m")[0] == f"python -m m a={best}"
    assert board.title.endswith("best first" if board.maximize else "best first (the lowest)")


def test_commands_are_quoted_for_the_shell_and_keep_where_the_config_lies() -> None:
    overrides = ["+train.labels.zone='a&b,c'", "data.source.delimiter=';'", "storage.root=./my var", "a.b=$HOME"]
    best = Record(number=0, overrides=overrides, state=State.finished, result={"v": 1.0, "checkpoint": "/my var/c"})
    options = ["--config-dir", "my conf"]
    again, publish = Leaderboard.of([best], "v").commands("towers.train", options)
    assert shlex.split(again) == ["python", "-m", "towers.train", *options, *overrides]
    assert shlex.split(publish) == [
        "python", "-m", "serve.publish", *options, "checkpoint=/my var/c", "storage.root=./my var",
    ]  # fmt: skip


@pytest.mark.parametrize("root", ["/a=b", "/a,b", "/a (1)", "/Übung", "/it's", "/a#b", "/a&b", '/"q"'])
def test_the_command_to_publish_names_the_checkpoint_wherever_it_lies(root: str) -> None:
    checkpoint = f"{root}/checkpoints/p-0a1b"
    best = Record(number=0, overrides=["a=1"], state=State.finished, result={"v": 1.0, "checkpoint": checkpoint})
    _, publish = Leaderboard.of([best], "v").commands("towers.train")
    assert load(shlex.split(publish)[3:]).checkpoint == checkpoint


def test_where_the_config_lies_is_taken_from_the_command() -> None:
    searched = {"overrides": {"hydra": ["hydra.launcher.cpus=2", "hydra.searchpath=[pkg://mine]"]}}
    config = OmegaConf.create({"hydra": searched})
    arguments = ["-cd", "my", "-m", "a=1,2", "--config-name=other", "b=--config-dir"]
    assert config_options(arguments, config) == [
        "--config-dir", "my", "--config-name", "other", "hydra.searchpath=[pkg://mine]",
    ]  # fmt: skip
    none = OmegaConf.create({"hydra": {"overrides": {"hydra": []}}})
    assert config_options(["-m", "a=1"], none) == []
    assert config_options(["-q", "-rfE", "--tb=short"], none) == [], "of another program, such as pytest"


def test_overrides_of_hydra_that_name_values_of_each_job_are_left_alone() -> None:
    """hydra.job.num has no value before there is a job."""
    hydra = {"job": {"num": "???"}, "overrides": {"hydra": ["hydra.sweep.subdir=${hydra.job.num}"]}}
    assert config_options(["-m", "a=1"], OmegaConf.create({"hydra": hydra})) == []


@pytest.mark.slow
def test_what_is_printed_runs_in_a_shell(tmp_path: Path) -> None:
    """The command of the best trial, given to a shell, composes the config that the trial had."""
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    (tmp_path / "my" / "experiment" / "mine.yaml").write_text("# @package _global_\ntrain:\n  epochs: 7\n")
    overrides = ["experiment=mine", "data=csv", "data.source.interactions=x", "data.source.delimiter=';'"]
    overrides += ["+train.labels.zone='a&b,c'", "data.source.multi_separator='$x'"]
    best = Record(number=0, overrides=overrides, state=State.finished, result={"v": 1.0})
    (again,) = Leaderboard.of([best], "v").commands("towers.train", ["--config-dir", "my"])
    config = composed_in_a_shell(again, tmp_path)
    assert (config.train.labels.zone, config.train.epochs) == ("a&b,c", 7)
    assert (config.data.source.delimiter, config.data.source.multi_separator) == (";", "$x")
