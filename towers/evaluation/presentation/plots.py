"""Reports as plots: recall by slice, popularity of what is recommended, and calibration of the re-ranker.

Colours are those of Okabe & Ito, which colour-blind readers can tell apart; each ranking also has its own marker.
"""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from towers.evaluation.report import RELEVANT, RERANKED, TOWERS, Report
from towers.evaluation.slices import COLD_USERS, NUM_DECILES

STYLES = {
    TOWERS: ("#0072B2", "o"),
    RERANKED: ("#D55E00", "s"),
    "popularity": ("#999999", "v"),
    "recent popularity": ("#CC79A7", "^"),
    "item-item filter": ("#009E73", "D"),
    "item-item filter, tuned": ("#009E73", "d"),
    "EASE, tuned": ("#56B4E9", "P"),
    "iALS, tuned": ("#E69F00", "X"),
    "own items": ("#F0E442", "*"),
    RELEVANT: ("#000000", "x"),
}


def save(report: Report, folder: Path) -> dict[str, Path]:
    """Saves all plots in a folder; returns the PNG files by the name under which experiment tracking knows them."""
    drawings = {"recall_by_slice": recall_by_slice, "popularity_of_shown": popularity_of_recommended}
    if report.calibration and report.calibration["predicted"]:
        drawings["reliability"] = reliability
    files = {name: folder / f"{name}.png" for name in drawings}
    for name, draw in drawings.items():
        draw(report).savefig(files[name], dpi=150)
    return files


def recall_by_slice(report: Report) -> Figure:
    """Draws recall by slice, a panel per group; error bars are 95 % intervals over the users of a slice."""
    shown = [part for part in report.slices if part["group"] != COLD_USERS]
    groups = [(group, list(parts)) for group, parts in groupby(shown, key=lambda part: part["group"])]
    figure = Figure(figsize=(5.5 * len(groups), 4.8), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (group, parts) in zip(panels, groups, strict=True):
        _slices(axes, parts, list(report.rankings))
        axes.set(xlabel=group)
    panels[0].set(ylabel=f"recall@{report.k}", ylim=(0, None))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def popularity_of_recommended(report: Report) -> Figure:
    """Draws the shares of the first k ranks that go to cold items and to each decile of the items by popularity.

    The line of the relevant items shows how those spread.
    """
    figure = Figure(figsize=(6.5, 4.8), layout="constrained")
    axes = figure.subplots()
    for name in (*report.rankings, RELEVANT):
        shares = report.recommended_shares[name]
        colour, marker = STYLES[name]
        line = "--" if name == RELEVANT else "-"
        axes.plot(range(len(shares)), shares, line, color=colour, marker=marker, label=name, markersize=5)
    axes.set(
        xlabel="items by popularity, in deciles (10 = most popular)", ylabel=f"share of the first {report.k} ranks"
    )
    axes.set_xticks(range(NUM_DECILES + 1), ["cold", *map(str, range(1, NUM_DECILES + 1))])
    _plain(axes)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def reliability(report: Report) -> Figure:
    """Draws the share of candidates that are relevant against the probability that the re-ranker predicts."""
    assert report.calibration is not None
    predicted, observed = report.calibration["predicted"], report.calibration["observed"]
    figure = Figure(figsize=(5, 4.8), layout="constrained")
    axes = figure.subplots()
    top = max(*predicted, *observed)
    axes.plot([0, top], [0, top], "--", color="#555555", linewidth=1)
    axes.plot(predicted, observed, color=STYLES[RERANKED][0], marker=STYLES[RERANKED][1], markersize=5)
    axes.set(xlabel="predicted probability, in deciles of the candidates", ylabel="share that is relevant")
    _plain(axes)
    return figure


def _slices(axes: Axes, parts: list[dict[str, Any]], rankings: list[str]) -> None:
    width = 0.6 / len(rankings)
    for number, name in enumerate(rankings):
        colour, marker = STYLES[name]
        x = [at + (number - (len(rankings) - 1) / 2) * width for at in range(len(parts))]
        y = [part["recall"][name] for part in parts]
        bounds = np.array([part["intervals"][name] for part in parts])
        reach = np.abs(bounds - np.array(y)[:, None]).T
        axes.errorbar(x, y, reach, fmt=marker, color=colour, label=name, markersize=4, linewidth=1)
    random = [part["recall"]["random"] for part in parts]
    axes.plot(range(len(parts)), random, ":", color="#555555", label="random", linewidth=1)
    axes.set_xticks(range(len(parts)), [part["name"] for part in parts], rotation=40, ha="right", fontsize=8)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
