"""A sweep in pictures: learning curves, parallel coordinates, importance of each parameter, quality against cost."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import optuna
from matplotlib.axes import Axes

from towers.sweeps.results.leaderboard import COSTS, Leaderboard, Point

CURVES = 30
"""Trials whose curves are drawn, best first."""


def draw(board: Leaderboard, folder: Path, monitor: str | None) -> dict[str, Path]:
    """Writes PNG files and returns them by title; a picture that would show nothing is left out."""
    drawings: dict[str, tuple[Callable[[Leaderboard, Axes], bool], str]] = {
        "learning curves": (partial(curves, monitor=monitor), "curves.png"),
        "parallel coordinates": (coordinates, "coordinates.png"),
        "importance of each parameter": (importances, "importance.png"),
        "quality against cost": (costs, "cost.png"),
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


def curves(board: Leaderboard, axes: Axes, monitor: str | None) -> bool:
    """The monitored value by epoch, a line per trial; pruned ones end early."""
    trials = [record for point in board.points for record in point.trials][:CURVES]
    colours = plt.get_cmap("viridis")(np.linspace(0.9, 0, max(len(trials), 1)))
    drawn = False
    for record, colour in reversed(list(zip(trials, colours, strict=True))):
        values = [(epoch, of[monitor]) for epoch, of in record.epochs if monitor is not None and monitor in of]
        if values:
            axes.plot(*zip(*values, strict=True), color=colour, marker=".", alpha=0.8)
            drawn = True
    axes.set_xlabel("epoch")
    axes.set_ylabel(monitor or "")
    return drawn


def coordinates(board: Leaderboard, axes: Axes) -> bool:
    """A line per point through its parameters and its value; the darker, the better."""
    points = [point for point in board.points if point.mean is not None]
    if len(points) < 2 or not board.names:
        return False
    names = [*board.names, board.metric]
    columns = [_places([point.given.get(name, "") for point in points]) for name in board.names]
    columns.append(_places([str(point.mean) for point in points]))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(points)))
    for number in reversed(range(len(points))):
        axes.plot(range(len(names)), [places[number] for places, _ in columns], color=colours[number], alpha=0.7)
    for at, (_, labels) in enumerate(columns):
        axes.axvline(at, color="grey", lw=0.6)
        for place, label in labels.items():
            axes.text(at, place, f" {label}", fontsize=7, va="center")
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    return True


def _places(values: list[str]) -> tuple[list[float], dict[float, str]]:
    """Where values stand on an axis from 0 to 1, and labels at some places."""
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
    return [float(place) for place in (numbers - low) / span], labels


def importances(board: Leaderboard, axes: Axes) -> bool:
    """By PED-ANOVA (Watanabe et al. 2023), which wants a handful of points."""
    found = importance(board)
    if not found:
        return False
    names = sorted(found, key=lambda name: found[name])
    axes.barh(names, [found[name] for name in names])
    axes.set_xlabel(f"share in what parts the best points from the others, by {board.metric}")
    return True


def importance(board: Leaderboard) -> dict[str, float]:
    """Share of each parameter; empty where there are too few points to say."""
    points = [point for point in board.points if point.mean is not None]
    names = [name for name in board.names if all(name in point.given for point in points)]
    if len(points) < 4 or not names:
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


def costs(board: Leaderboard, axes: Axes) -> bool:
    """The metric against training time; size by the dot."""
    points = [point for point in board.points if point.mean is not None]
    seconds, size, latency = (_numbers(points, name) for name in COSTS)
    if np.isfinite(seconds).sum() < 2:
        return False
    area = np.clip(20 + 10 * np.nan_to_num(size), 20, 600)
    dots = axes.scatter(seconds, [point.mean or 0.0 for point in points], s=area, c=np.nan_to_num(latency))
    axes.figure.colorbar(dots, ax=axes, label="ms of a user vector")
    axes.set_xlabel(f"training, s ({', '.join(COSTS)}: size of a dot by MiB)")
    axes.set_ylabel(board.metric)
    return True


def _numbers(points: list[Point], cost: str) -> np.ndarray:
    """NaN where it is not known."""
    found = [point.costs[cost] for point in points]
    return np.array([np.nan if value is None else value for value in found], dtype=float)
