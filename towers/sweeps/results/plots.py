"""Plots of a sweep: learning curves, parallel coordinates, importance of each parameter, quality against cost."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.axes import Axes

from towers.sweeps.records import finite_number
from towers.sweeps.results.leaderboard import Leaderboard
from towers.sweeps.results.points import COSTS, Point

MAX_CURVES = 30
"""Largest number of trials, the best ones, whose learning curves are drawn."""

MIN_POINTS_FOR_IMPORTANCE = 4


def draw(board: Leaderboard, folder: Path, monitor: str | None) -> dict[str, Path]:
    """Saves the plots as PNG files and returns these by title. A plot that would show nothing is left out.

    Args:
        monitor: name of the value of an epoch that learning curves show.
    """
    drawings: dict[str, tuple[Callable[[Leaderboard, Axes], bool], str]] = {
        "learning curves": (partial(learning_curves, monitor=monitor), "curves.png"),
        "parallel coordinates": (parallel_coordinates, "coordinates.png"),
        "importance of each parameter": (importance_bars, "importance.png"),
        "quality against cost": (quality_against_cost, "cost.png"),
    }
    images = {}
    for title, (drawing, name) in drawings.items():
        figure, axes = plt.subplots(figsize=(9, 4.5))
        if drawing(board, axes):
            figure.tight_layout()
            figure.savefig(folder / name, dpi=120)
            images[title] = folder / name
        plt.close(figure)
    return images


def learning_curves(board: Leaderboard, axes: Axes, monitor: str | None) -> bool:
    """Draws the monitored value by epoch, a line per trial. Returns whether there was anything to draw."""
    trials = [record for point in board.points for record in point.trials][:MAX_CURVES]
    colours = plt.get_cmap("viridis")(np.linspace(0.9, 0, max(len(trials), 1)))
    drawn = False
    for record, colour in reversed(list(zip(trials, colours, strict=True))):
        reported = [(epoch, finite_number(of.get(monitor or ""))) for epoch, of in record.epochs]
        values = [(epoch, value) for epoch, value in reported if value is not None]
        if values:
            axes.plot(*zip(*values, strict=True), color=colour, marker=".", alpha=0.8)
            drawn = True
    axes.set_xlabel("epoch")
    axes.set_ylabel(monitor or "")
    return drawn


def parallel_coordinates(board: Leaderboard, axes: Axes) -> bool:
    """Draws a line per point through its parameters and its metric, darker for better points.

    Returns whether there was anything to draw.
    """
    points = [point for point in board.points if point.mean is not None]
    if len(points) < 2 or not board.names:
        return False
    names = [*board.names, board.metric]
    columns = [_axis([point.given.get(name, "") for point in points]) for name in board.names]
    columns.append(_axis([str(point.mean) for point in points]))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(points)))
    for number in reversed(range(len(points))):
        axes.plot(range(len(names)), [heights[number] for heights, _ in columns], color=colours[number], alpha=0.7)
    for x, (_, labels) in enumerate(columns):
        axes.axvline(x, color="grey", lw=0.6)
        for y, label in labels.items():
            axes.text(x, y, f" {label}", fontsize=7, va="center")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    return True


def _axis(values: list[str]) -> tuple[list[float], dict[float, str]]:
    """Heights of the values on an axis from 0 to 1, and labels by height."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        distinct = sorted(set(values))
        step = max(len(distinct) - 1, 1)
        return [distinct.index(v) / step for v in values], {i / step: v for i, v in enumerate(distinct)}
    low, span = numbers.min(), max(float(np.ptp(numbers)), 1e-12)
    labels = {
        (value - low) / span: f"{value:.4g}" for value in ([low, numbers.max()] if len(set(values)) > 8 else numbers)
    }
    return [float(height) for height in (numbers - low) / span], labels


def importance_bars(board: Leaderboard, axes: Axes) -> bool:
    """Draws `parameter_importance` as bars. Returns whether there was anything to draw."""
    found = parameter_importance(board)
    if not found:
        return False
    names = sorted(found, key=lambda name: found[name])
    axes.barh(names, [found[name] for name in names])
    axes.set_xlabel(f"importance for being among the best points, by {board.metric}")
    return True


def parameter_importance(board: Leaderboard) -> dict[str, float]:
    """How much each parameter decides whether a point is among the best: shares that sum to 1.

    Computed by PED-ANOVA (Watanabe et al. 2023). Empty where there are too few points.
    """
    points = [point for point in board.points if point.mean is not None]
    names = [name for name in board.names if all(name in point.given for point in points)]
    if len(points) < MIN_POINTS_FOR_IMPORTANCE or not names:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if board.maximize else "minimize")
    space = {name: _distribution([point.given[name] for point in points]) for name in names}
    for point in points:
        params = {name: of.to_external_repr(of.to_internal_repr(_typed(point, name, of))) for name, of in space.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=point.mean))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return {
            str(k): float(v) for k, v in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
        }


def _typed(point: Point, name: str, of: optuna.distributions.BaseDistribution) -> str | float:
    value = point.given[name]
    return value if isinstance(of, optuna.distributions.CategoricalDistribution) else float(value)


def _distribution(values: list[str]) -> optuna.distributions.BaseDistribution:
    distinct = sorted(set(values))
    try:
        numbers = [float(value) for value in distinct]
    except ValueError:
        return optuna.distributions.CategoricalDistribution(distinct)
    if len(distinct) <= 5:
        return optuna.distributions.CategoricalDistribution(distinct)
    return optuna.distributions.FloatDistribution(min(numbers), max(numbers))


def quality_against_cost(board: Leaderboard, axes: Axes) -> bool:
    """Draws the metric against training time; the area of a dot is the size of a model, its colour the latency.

    Returns whether there was anything to draw.
    """
    points = [point for point in board.points if point.mean is not None]
    seconds, size, latency = (_numbers(points, name) for name in COSTS)
    if np.isfinite(seconds).sum() < 2:
        return False
    area = np.clip(20 + 10 * np.nan_to_num(size), 20, 600)
    dots = axes.scatter(seconds, [point.mean or 0.0 for point in points], s=area, c=np.nan_to_num(latency))
    axes.figure.colorbar(dots, ax=axes, label="time of a user vector, ms")
    axes.set_xlabel("training time, s (area of a dot: size of the model)")
    axes.set_ylabel(board.metric)
    return True


def _numbers(points: list[Point], cost: str) -> np.ndarray:
    """float64: a cost of each point; NaN where it is not known."""
    found = [point.costs[cost] for point in points]
    return np.array([np.nan if value is None else value for value in found], dtype=float)
