"""What came of a sweep: points best first, seeds averaged, with intervals, costs and the commands to go on with."""

import html
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from scipy import stats

from data.artifacts.errors import ConfigError
from towers.sweeps.records import Record, State, parameters, varying

NAME = "leaderboard"
SEED = "seed"
COSTS = {"seconds": "training.seconds", "MiB": "cost.size_mib", "ms": "cost.user_vector_ms"}
"""Columns, and where they stand in what a training returns."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Trials that differ by seed alone.

    Attributes:
        given: the parameters that vary in the sweep.
        values: the metric by seed, of those that finished.
        interval: of its mean, 95 %, by Student's t; None for a single seed.
        p: of a paired t-test against the best point, over the seeds that both have, by Holm's correction for as many
            tests as the leaderboard has; None where there are not two seeds.
        costs: means, by name; None where it is not known.
        best: the record of its best seed; None where no trial of it finished.
    """

    given: dict[str, str]
    trials: list[Record]
    values: dict[str, float]
    interval: tuple[float, float] | None
    p: float | None
    costs: dict[str, float | None]
    best: Record | None

    @property
    def mean(self) -> float | None:
        return float(np.mean(list(self.values.values()))) if self.values else None

    @property
    def states(self) -> str:
        """How its trials ended."""
        found = [record.state for record in self.trials]
        return ", ".join(f"{found.count(state)} {state.value}" for state in State if state in found)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All points, best first, those without a value last; `names`: of the parameters that vary."""

    metric: str
    maximize: bool
    names: list[str]
    points: list[Point]

    @classmethod
    def of(cls, records: Sequence[Record], metric: str, maximize: bool = True) -> "Leaderboard":
        """Raises ValueError where no trial has the metric."""
        names = [name for name in varying([r.overrides for r in records]) if name != SEED]
        groups: dict[tuple[str, ...], list[Record]] = {}
        for record in records:
            given = parameters(record.overrides)
            groups.setdefault(tuple(f"{k}={v}" for k, v in given.items() if k != SEED), []).append(record)
        values = [_values(of, metric) for of in groups.values()]
        if records and not any(values):
            raise ConfigError(
                f"metric: no finished trial has {metric!r}; it may be training.best_value or metrics.ndcg@20"
            )
        order = sorted(range(len(values)), key=lambda i: _rank(values[i], maximize))
        of = list(groups.values())
        tested = _holm([None if i == order[0] else _paired(values[i], values[order[0]]) for i in order])
        points = [_point(of[i], values[i], p, names, maximize) for i, p in zip(order, tested, strict=True)]
        return cls(metric=metric, maximize=maximize, names=names, points=points)

    @property
    def best(self) -> Record | None:
        return self.points[0].best if self.points else None

    def arrow(self) -> pa.Table:
        """A row per point."""
        rows = [
            {
                **point.given,
                "mean": point.mean,
                "low": point.interval[0] if point.interval else None,
                "high": point.interval[1] if point.interval else None,
                "p": point.p,
                "seeds": len(point.values),
                **point.costs,
                "trials": [record.number for record in point.trials],
                "states": point.states,
            }
            for point in self.points
        ]
        return pa.Table.from_pylist(rows)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows for people; a column without a value, as the interval of single seeds, is left out."""
        columns = ["", *self.names, self.metric, "95 %", "p", "seeds", *COSTS, "trials"]
        rows = []
        for number, point in enumerate(self.points, 1):
            interval = "" if point.interval is None else f"{point.interval[0]:.4f} .. {point.interval[1]:.4f}"
            costs = ["" if cost is None else f"{cost:.4g}" for cost in point.costs.values()]
            mean, p = "" if point.mean is None else f"{point.mean:.4f}", "" if point.p is None else f"{point.p:.3g}"
            shown = [point.given.get(name, "") for name in self.names]
            rows.append([f"{number}", *shown, mean, interval, p, f"{len(point.values)}", *costs, point.states])
        filled = [at for at in range(len(columns)) if any(row[at] for row in rows)]
        return [columns[at] for at in filled], [[row[at] for at in filled] for row in rows]

    def table(self, most: int = 20) -> Table:
        columns, rows = self.cells()
        tested = any(point.p is not None for point in self.points)
        caption = "p: paired t-tests against the best, over seeds, by Holm's correction" if tested else None
        table = Table(title=f"{self.metric}, best first", caption=caption)
        for column in columns:
            table.add_column(column)
        for row in rows[:most]:
            table.add_row(*row)
        return table

    def commands(self, module: str) -> list[str]:
        """What reproduces the best, and what publishes it."""
        if self.best is None:
            return []
        again = " ".join([f"python -m {module}", *(quoted(override) for override in self.best.overrides)])
        checkpoint = self.best.value("checkpoint")
        return [again, *([f"python -m serve.publish checkpoint={checkpoint}"] if checkpoint else [])]

    def write(self, folder: Path, images: dict[str, Path], commands: Sequence[str]) -> None:
        """leaderboard.parquet and leaderboard.html, which needs no other file."""
        pq.write_table(self.arrow(), folder / f"{NAME}.parquet")
        columns, rows = self.cells()
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        shown = "".join(
            f'<h2>{html.escape(name)}</h2><img alt="{html.escape(name)}" src="data:image/png;base64,'
            f'{b64encode(path.read_bytes()).decode()}">'
            for name, path in images.items()
        )
        told = "".join(f"<pre>{html.escape(command)}</pre>" for command in commands)
        (folder / f"{NAME}.html").write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(folder.name)}</title>'
            f"<style>{STYLE}</style><h1>{html.escape(folder.name)}</h1><table><tr>{head}</tr>{body}</table>"
            f"<h2>To go on</h2>{told}{shown}</html>\n"
        )


STYLE = (
    "body{font:15px system-ui;margin:2em auto;max-width:70em;padding:0 1em}table{border-collapse:collapse}"
    "td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:left}img{max-width:100%}"
    "pre{background:#f4f4f4;padding:.7em;overflow-x:auto}"
)


def quoted(override: str) -> str:
    """For a shell."""
    return override if override.replace("=", "").replace(".", "").replace("_", "").isalnum() else f"'{override}'"


def _values(records: Sequence[Record], metric: str) -> dict[str, float]:
    found = {
        parameters(record.overrides).get(SEED, ""): record.value(metric)
        for record in records
        if record.state is State.finished
    }
    return {seed: float(value) for seed, value in found.items() if isinstance(value, int | float)}


def _rank(values: dict[str, float], maximize: bool) -> tuple[bool, float]:
    mean = float(np.mean(list(values.values()))) if values else 0.0
    return not values, -mean if maximize else mean


def _point(records: list[Record], values: dict[str, float], p: float | None, names: list[str], maximize: bool) -> Point:
    given = parameters(records[0].overrides)
    finished = [record for record in records if parameters(record.overrides).get(SEED, "") in values]
    costs: dict[str, float | None] = {}
    for name, path in COSTS.items():
        found = [value for record in finished if isinstance(value := record.value(path), int | float)]
        costs[name] = float(np.mean(found)) if found else None
    pick = max if maximize else min
    best = pick(finished, key=lambda record: values[parameters(record.overrides).get(SEED, "")]) if finished else None
    return Point(
        given={name: given[name] for name in names if name in given},
        trials=records,
        values=values,
        interval=_interval(list(values.values())),
        p=p,
        costs=costs,
        best=best,
    )


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error) if error else (mean, mean)
    return float(low), float(high)


def _paired(values: dict[str, float], first: dict[str, float]) -> float | None:
    both = sorted(values.keys() & first.keys())
    if len(both) < 2:
        return None
    differences = [values[seed] - first[seed] for seed in both]
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0).pvalue)


def _holm(tested: Sequence[float | None]) -> list[float | None]:
    """The p of several tests, such that the chance of any false finding stays below what each promises (Holm, 1979)."""
    known = sorted((p, at) for at, p in enumerate(tested) if p is not None)
    corrected, least = list(tested), 0.0
    for number, (p, at) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - number)))
        corrected[at] = least
    return corrected
