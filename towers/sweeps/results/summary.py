"""What a sweep leaves behind for people: leaderboard and pictures, in its folder."""

import json
from pathlib import Path

from omegaconf import OmegaConf

from data.artifacts.errors import ConfigError
from data.cluster.console import show
from towers.sweeps.records import Records
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.plots import draw

DEFAULT = "training.best_value"

SWEEP = "sweep.json"
"""In a sweep's folder: the module that it calls."""


def shown(folder: Path, metric: str | None = None) -> tuple[Leaderboard, list[str]]:
    """The same, for people to read as well."""
    board, commands = written(folder, metric)
    show(board.table())
    for command in commands:
        print(f"  {command}")
    print(f"leaderboard: {folder}/leaderboard.html, {folder}/leaderboard.parquet")
    return board, commands


def written(folder: Path, metric: str | None = None) -> tuple[Leaderboard, list[str]]:
    """Makes them, and returns them with the commands to go on with.

    Args:
        metric: a dotted path into what a trial returned; None: the sweeper's first objective, or training.best_value.

    Raises:
        ValueError: the folder holds no trial, or none that has the metric.
    """
    records = Records(folder).read()
    if not records:
        raise ConfigError(f"sweep: {folder} holds no trial that has ended")
    config = OmegaConf.load(folder / "multirun.yaml") if (folder / "multirun.yaml").exists() else OmegaConf.create()
    objectives = OmegaConf.select(config, "hydra.sweeper.objectives") or []
    first = objectives[0] if objectives else None
    path = metric or (first.metric if first is not None else DEFAULT)
    minimize = first is not None and first.metric == path and str(first.direction).endswith("minimize")
    board = Leaderboard.of(records, path, not minimize)
    commands = board.commands(json.loads((folder / SWEEP).read_text())["module"])
    images = draw(board, folder, OmegaConf.select(config, "train.monitor"))
    board.write(folder, images, commands)
    return board, commands
