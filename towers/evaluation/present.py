"""A report shown: tables for people, plots in the run's folder, and a copy for experiment tracking."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from data.cluster.console import show
from towers.evaluation.config import Peer
from towers.evaluation.plots import save
from towers.evaluation.report import RERANKED, TOWERS, Report
from towers.evaluation.tables import Cells, metric_cells, metrics_table, slice_cells, slices_table


class ReportSink(Protocol):
    """What tracks experiments, such as W&B."""

    def show(self, summary: dict[str, float], tables: dict[str, Cells], images: dict[str, Path] | None = None) -> None:
        """Takes a finished measurement: numbers by name, tables as (columns, rows), image files."""
        ...


def present(report: Report, name: str, peers: Sequence[Peer], tracker: ReportSink, folder: Path) -> dict[str, Any]:
    """Shows a report as tables, leaves its plots in `folder`, hands all to the tracker, and returns it as JSON.

    Args:
        name: of the checkpoint that was measured.
        peers: published results, shown beside it.
    """
    show(metrics_table(report, name, peers))
    show(slices_table(report))
    images = save(report, folder)
    print(f"plots and summary.json: {folder}")
    tracker.show(_summary(report), {"metrics": metric_cells(report, peers), "slices": slice_cells(report)}, images)
    return report.as_json() | {"peers": [asdict(peer) for peer in peers]}


def _summary(report: Report) -> dict[str, float]:
    """What W&B's table of runs can be sorted by: test/recall@20, test/re-ranked/recall@20, ..."""
    prefixes = {TOWERS: report.split, RERANKED: f"{report.split}/re-ranked"}
    values = report.rankings.items()
    return {f"{prefixes.get(name, f'{report.split}/{name}')}/{m}": v for name, of in values for m, v in of.items()}
