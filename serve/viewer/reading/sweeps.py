"""The results of sweeps, as the page shows them; nothing is written into their folders."""

from dataclasses import dataclass
from pathlib import Path

from data.artifacts.json_text import mapping, parsed
from towers.sweeps.records import TRIALS_FILE, finite_number
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.points import COSTS
from towers.sweeps.results.summary import SWEEP_FILE, read_board

MAX_CURVES = 8
"""Learning curves that are drawn: of the best points."""

Curve = list[tuple[float, float | None]]


@dataclass(frozen=True)
class SweepBoard:
    """The leaderboard of a sweep.

    Attributes:
        metric: The value that ranks.
        title: What the table is ordered by.
        columns, rows: The table, as text.
        notes: What to know before the best point is taken.
        monitor: The value of the learning curves.
        curves: Epochs and values by trial.
        cost: Name of the cost in `costs`.
        costs: Points of the plot of costs: label, cost and value.
        by_parameter: The best value for each value of each parameter that varies.
        commands: The commands that reproduce and publish the best trial.
    """

    metric: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]
    monitor: str
    curves: dict[str, Curve]
    cost: str
    costs: list[tuple[str, float, float]]
    by_parameter: dict[str, dict[str, float]]
    commands: list[str]


def sweeps_in(folder: Path) -> list[str]:
    """Returns the sweeps below a folder, as paths relative to it, the newest first."""
    found = sorted(folder.glob(f"*/*/{TRIALS_FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [str(path.parent.relative_to(folder)) for path in found]


def read_sweep(folder: Path) -> SweepBoard:
    """Returns the leaderboard of a sweep.

    Raises:
        ConfigError: no trial has ended, or none has the metric.
        OSError: a file cannot be read.
    """
    board, monitor = read_board(folder)
    columns, rows = board.cells()
    file = folder / SWEEP_FILE
    ran = parsed(file.read_bytes(), str(file), mapping, "the record of a sweep") if file.exists() else {}
    commands = board.commands(ran["module"], ran.get("options", [])) if "module" in ran else []
    cost = next((name for name in COSTS if any(point.costs.get(name) for point in board.points)), "")
    measured = [(_says(point.given), point.costs.get(cost), point.mean) for point in board.points]
    costs = [(says, paid, mean) for says, paid, mean in measured if paid is not None and mean is not None]
    curves = _curves(board, monitor or "")
    return SweepBoard(
        board.metric, board.title, columns, rows, board.notes, monitor or "", curves, cost, costs, _by_parameter(board),
        commands,
    )  # fmt: skip


def _curves(board: Leaderboard, monitor: str) -> dict[str, Curve]:
    found: dict[str, Curve] = {}
    for record in [record for point in board.points for record in point.trials][:MAX_CURVES]:
        values = [(float(epoch), finite_number(of.get(monitor))) for epoch, of in record.epochs]
        if any(value is not None for _, value in values):
            found[f"trial {record.number}"] = values
    return found


def _by_parameter(board: Leaderboard) -> dict[str, dict[str, float]]:
    """The best value for each value of each parameter, for parameters with several values."""
    found: dict[str, dict[str, float]] = {}
    better = max if board.maximize else min
    for name in board.names:
        values: dict[str, float] = {}
        for point in board.points:
            if point.mean is not None and name in point.given:
                given = point.given[name]
                values[given] = better(values.get(given, point.mean), point.mean)
        if len(values) > 1:
            found[name] = dict(sorted(values.items()))
    return found


def _says(given: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "the only point"
