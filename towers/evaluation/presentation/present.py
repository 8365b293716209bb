"""Presenting a report or a comparison: tables for people, plots in the run's folder, a copy for experiment tracking."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from data.cluster.console import show
from towers.evaluation.config import PublishedResult
from towers.evaluation.paired import Difference, difference_cells, difference_table
from towers.evaluation.presentation.plots import save
from towers.evaluation.presentation.tables import Cells, metric_cells, metrics_table, slice_cells, slices_table
from towers.evaluation.report import RERANKED, TOWERS, Report


class ReportSink(Protocol):
    """Anything that takes finished measurements, such as the experiment tracker `Tracker`."""

    def show(self, summary: dict[str, float], tables: dict[str, Cells], images: dict[str, Path] | None = None) -> None:
        """Takes a finished measurement: numbers by name, tables as (columns, rows), and image files by name."""
        ...


def present(
    report: Report, name: str, published: Sequence[PublishedResult], tracker: ReportSink, folder: Path
) -> dict[str, Any]:
    """Prints a report as tables, saves its plots, hands everything to the tracker, and returns it as JSON.

    Args:
        name: the name of the checkpoint that was measured.
        published: published results, printed beside what was measured.
        tracker: receives metrics, tables and plots.
        folder: receives the plots.
    """
    show(metrics_table(report, name, published))
    show(slices_table(report))
    images = save(report, folder)
    print(f"plots and summary.json: {folder}")
    tracker.show(_summary(report), {"metrics": metric_cells(report, published), "slices": slice_cells(report)}, images)
    return report.as_json() | {"peers": [asdict(result) for result in published]}


def present_differences(differences: Sequence[Difference], title: str, k: int, tracker: ReportSink) -> None:
    """Prints the differences between two models at cut-off k as a table, and hands all of them to the tracker."""
    show(difference_table(differences, title, k))
    summary = {f"{d.ranking}/{d.metric}/difference": d.difference for d in differences}
    tracker.show(summary, {"differences": difference_cells(differences)})


def _summary(report: Report) -> dict[str, float]:
    """Numbers by which W&B's table of runs can be sorted: test/recall@20, test/re-ranked/recall@20, ..."""
    prefixes = {TOWERS: report.split, RERANKED: f"{report.split}/re-ranked"}
    values = report.rankings.items()
    return {f"{prefixes.get(name, f'{report.split}/{name}')}/{m}": v for name, of in values for m, v in of.items()}
