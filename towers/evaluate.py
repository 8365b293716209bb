"""Full-catalogue evaluation beside floors: `python -m towers.evaluate checkpoint=...`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.prepare import jsonable
from towers.build import FitOn
from towers.measure import evaluate
from towers.plots import save
from towers.report import RERANKED, TOWERS, Report
from towers.runs import open_for
from towers.tables import metric_cells, metrics_table, slice_cells, slices_table
from towers.tracking import Tracker
from towers.trial import current

if TYPE_CHECKING:
    from conf.schema import Config


def present(report: Report, name: str, config: "Config") -> dict[str, Any]:
    """Shows a report as tables, leaves its plots in the run's folder, mirrors all to W&B, and returns it as JSON."""
    from conf.entry import run_folder
    from conf.session import show

    peers = config.evaluate.peers
    show(metrics_table(report, name, peers))
    show(slices_table(report))
    images = save(report, run_folder())
    print(f"plots and summary.json: {run_folder()}")
    sweep = trial.sweep if (trial := current()) is not None else None
    tracker = Tracker(config.tracking, name, jsonable(config), kind="evaluate", group=sweep)
    tracker.show(_summary(report), {"metrics": metric_cells(report, peers), "slices": slice_cells(report)}, images)
    tracker.finish()
    return report.as_json() | {"peers": [asdict(peer) for peer in peers]}


def _summary(report: Report) -> dict[str, float]:
    """What W&B's table of runs can be sorted by: test/recall@20, test/re-ranked/recall@20, ..."""
    prefixes = {TOWERS: report.split, RERANKED: f"{report.split}/re-ranked"}
    values = report.rankings.items()
    return {f"{prefixes.get(name, f'{report.split}/{name}')}/{m}": v for name, of in values for m, v in of.items()}


def task(config: "Config") -> dict[str, Any]:
    """Entry point: measures `checkpoint` (default: the one that this config trains)."""
    from conf.session import connect

    connect(config.cluster)
    checkpoint, dataset = open_for(config)
    fit_on = FitOn(checkpoint.manifest["fit_on"])
    report = evaluate(checkpoint.model, checkpoint.reranker, dataset, fit_on, config.evaluate)
    return {"checkpoint": str(checkpoint.folder)} | present(report, checkpoint.name, config)


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.evaluate")
