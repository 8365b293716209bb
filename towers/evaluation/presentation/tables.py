"""Reports as tables: for a terminal, and as plain columns and rows for experiment tracking."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from rich.table import Table

from towers.evaluation.config import PublishedResult
from towers.evaluation.metrics import METRICS
from towers.evaluation.report import NO_KNOWN_USERS, RERANKED, TOWERS, Report

Cells = tuple[list[str], list[list[Any]]]
"""Names of columns, and rows of values (None = not measured)."""


class Row(NamedTuple):
    """A row of the metrics table.

    Attributes:
        name: name of the ranking, or of the published result.
        values: metrics by name, such as `ndcg@20`.
        intervals: lower and upper bound of a metric's 95 % interval, by name; empty for published results.
    """

    name: str
    values: Mapping[str, float]
    intervals: Mapping[str, list[float]]


def metrics_table(report: Report, title: str, published: Sequence[PublishedResult] = ()) -> Table:
    """A row per ranking at the report's cut-off: baselines, published results, then the towers."""
    metrics = [metric for metric in METRICS if f"{metric}@{report.k}" in report.metrics]
    names = [f"{metric}@{report.k}" for metric in metrics]
    table = Table(title=f"{title}: {report.split} part, {report.num_queries:,} users, whole catalogue")
    table.add_column(f"at {report.k} ranks")
    for metric in metrics:
        table.add_column(metric, justify="right")
    for rows in _sections(report, published):
        for name, values, bounds in rows:
            table.add_row(name, *(_cell(values.get(n), bounds.get(n)) for n in names))
        table.add_section()
    of_baselines, of_reranking = _baseline_notes(report), _reranking_notes(report)
    caption = ["± half of a 95 % bootstrap interval over users", *of_baselines, *of_reranking, *report.notes]
    if published:
        caption.append("published: " + ", ".join(f"{result.name} ({result.source})" for result in published))
    table.caption, table.caption_justify = "\n".join(caption), "left"
    return table


def slices_table(report: Report) -> Table:
    """Recall at the report's cut-off by slice: a column per ranking, and one for random recommendations."""
    rankings = ["random", *report.rankings]
    caption = "in brackets: numbers of interactions fitted on; ± half of a 95 % bootstrap interval"
    table = Table(title=f"recall@{report.k} by slice", caption=caption, caption_justify="left")
    for column in ("slice", "users", *rankings):
        table.add_column(column, justify="left" if column == "slice" else "right", no_wrap=column == "slice")
    for group, parts in groupby(report.slices, key=lambda part: part["group"]):
        table.add_row(group, style="italic")
        for part in parts:
            values, bounds = part["recall"], {TOWERS: part["intervals"][TOWERS]}
            cells = (_cell(values[name], bounds.get(name), " ") for name in rankings)
            table.add_row(part["name"], f"{part['num_users']:,}", *cells)
        table.add_section()
    return table


def metric_cells(report: Report, published: Sequence[PublishedResult] = ()) -> Cells:
    """All metrics at all cut-offs: a row per ranking and per published result."""
    names = sorted(report.metrics, key=_order)
    rows = [[name, "measured", *(values.get(n) for n in names)] for name, values in report.rankings.items()]
    rows += [[result.name, result.source, *(result.metrics.get(n) for n in names)] for result in published]
    return ["ranking", "source", *names], rows


def slice_cells(report: Report) -> Cells:
    """Recall by slice: a row per slice, a column per ranking."""
    rankings = ["random", *report.rankings]
    rows = [
        [part["group"], part["name"], part["num_users"], part["num_relevant"], *(part["recall"][r] for r in rankings)]
        for part in report.slices
    ]
    return ["group", "slice", "users", "relevant", *rankings], rows


def _sections(report: Report, published: Sequence[PublishedResult]) -> list[list[Row]]:
    """Rows of the metrics table in three sections: baselines, published results, towers."""
    measured = {name: Row(name, values, report.intervals[name]) for name, values in report.rankings.items()}
    towers = [measured.pop(name) for name in (TOWERS, RERANKED)]
    return [list(measured.values()), [Row(result.name, result.metrics, {}) for result in published], towers]


def _baseline_notes(report: Report) -> list[str]:
    """How far both rankings are ahead of the best baseline, which says more than two intervals that overlap."""
    best, name = report.best_baseline, f"ndcg@{report.k}"
    if best is None or not report.ahead:
        return []
    changes = []
    for ranking, ahead in report.ahead.items():
        difference, low, high = ahead[best][name]
        changes.append(f"{ranking} {difference:+.4f} ({low:+.4f} to {high:+.4f})")
    return [f"{name} beside the best baseline, {best}, paired by user: {', '.join(changes)}"]


def _reranking_notes(report: Report) -> list[str]:
    """What re-ranking changes, and how well its probabilities are calibrated."""
    if report.calibration is None and NO_KNOWN_USERS in report.notes:
        return []
    if report.calibration is None and not report.goals:
        return [
            "re-ranker not fitted, for want of a validation part or of hits in it, or because it was worse there than"
            " retrieval, whose order stays"
        ]
    changes = []
    for name in (f"ndcg@{report.k}", f"recall@{report.k}"):
        difference, low, high = report.lift[name]
        changes.append(f"{name} {difference:+.4f} ({low:+.4f} to {high:+.4f})")
    if report.calibration is not None:
        return [f"re-ranking: {', '.join(changes)}; its calibration error {report.calibration['error']:.4f}"]
    difference, low, high = report.lift[f"value@{report.k}"]
    changes.append(f"value@{report.k} {difference:+.4f} ({low:+.4f} to {high:+.4f})")
    return [f"re-ranking: {', '.join(changes)}", *map(_goal_note, report.goals)]


def _goal_note(goal: dict[str, Any]) -> str:
    """How well the probability of one goal tells candidates apart, and how well it is calibrated."""
    auc = "no AUC, for want of events" if goal["auc"] is None else f"AUC {goal['auc']:.4f}"
    error = goal["calibration_error"]
    calibrated = "" if error is None else f", calibration error {error:.4f}"
    said = f"{goal['num_hits']:,} events among the candidates, {auc}{calibrated}"
    return f"goal {goal['name']}, weight {goal['weight']:g}: {said}"


def _cell(value: float | None, bounds: Sequence[float] | None, between: str = "\n") -> str:
    """A value, and half the width of its interval where it has one."""
    if value is None:
        return ""
    text = f"{value:.4f}" if value < 10 else f"{value:.2f}"
    return text if bounds is None else f"{text}{between}±{(bounds[1] - bounds[0]) / 2:.4f}"


def _order(name: str) -> tuple[int, int]:
    metric, _, k = name.partition("@")
    return METRICS.index(metric), int(k)
