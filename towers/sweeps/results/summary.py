"""Presents the results of a sweep: prints its leaderboard, and writes it to the sweep's folder with plots."""

import json
from pathlib import Path

from omegaconf import OmegaConf

from data.artifacts.errors import ConfigError
from data.cluster.console import show
from towers.sweeps.directions import is_better_when_lower
from towers.sweeps.records import Records
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.page import write_leaderboard

DEFAULT_METRIC = "training.best_value"

SWEEP_FILE = "sweep.json"
"""The file in the folder of a sweep with the module that it runs, and the options that say where the config lies."""


def present_results(folder: Path, metric: str | None = None) -> tuple[Leaderboard, list[str]]:
    """Writes the results as `write_results` does, and prints the leaderboard with its notes, and the commands."""
    board, commands = write_results(folder, metric)
    show(board.table())
    for note in board.notes:
        print(f"note: {note}")
    for command in commands:
        print(f"  {command}")
    print(f"leaderboard: {folder}/leaderboard.html, {folder}/leaderboard.parquet")
    return board, commands


def write_results(folder: Path, metric: str | None = None) -> tuple[Leaderboard, list[str]]:
    """Writes leaderboard and plots into the folder of a sweep.

    Args:
        metric: a dotted path into what a trial returned; None means the sweeper's first objective, or else
            training.best_value.

    Returns:
        The leaderboard, and the commands that reproduce and publish the best trial.

    Raises:
        ConfigError: the folder has no trial that has ended, or none with the metric.
    """
    board, monitor = read_board(folder, metric)
    ran = json.loads((folder / SWEEP_FILE).read_text())
    commands = board.commands(ran["module"], ran.get("options", []))
    from towers.sweeps.results.plots import draw  # brings matplotlib and optuna, which reading does without

    images = draw(board, folder, monitor)
    write_leaderboard(board, folder, images, commands)
    return board, commands


def read_board(folder: Path, metric: str | None = None) -> tuple[Leaderboard, str | None]:
    """Returns the leaderboard of a sweep, and the name of the value of an epoch that its learning curves show.

    Low values are better where an objective of the sweep says so of the metric or, if none speaks of it, where they are
    of such a metric (towers/sweeps/directions.py).

    Args:
        metric: as for `write_results`.

    Raises:
        ConfigError: the folder has no trial that has ended, or none with the metric.
    """
    records = Records(folder).read()
    if not records:
        raise ConfigError(f"sweep: {folder} holds no trial that has ended")
    config = OmegaConf.load(folder / "multirun.yaml") if (folder / "multirun.yaml").exists() else OmegaConf.create()
    objectives = OmegaConf.select(config, "hydra.sweeper.objectives") or []
    path = metric or (objectives[0].metric if objectives else DEFAULT_METRIC)
    given = next((str(each.direction) for each in objectives if each.metric == path and each.direction), None)
    minimize = is_better_when_lower(path) if given is None else given.endswith("minimize")
    board = Leaderboard.of(records, path, not minimize)
    return board, OmegaConf.select(config, "train.monitor")
