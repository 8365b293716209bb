"""The leaderboard of a sweep: its points best first, with intervals, tests and costs, and commands for the best one."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from rich.table import Table

from data.artifacts.errors import ConfigError
from data.cluster.typed_commands import command, override
from towers.evaluation.report import is_reported
from towers.sweeps.records import Record, varying_parameters
from towers.sweeps.results.points import COSTS, Point, ranked_points
from towers.sweeps.search.space import SEED


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """All points of a sweep.

    Attributes:
        metric: the metric that ranks points, a dotted path into what a trial returned.
        maximize: whether larger values are better.
        names: names of the parameters that vary in the sweep, without the seed.
        points: best first; those without a value come last.
    """

    metric: str
    maximize: bool
    names: list[str]
    points: list[Point]

    @classmethod
    def of(cls, records: Sequence[Record], metric: str, maximize: bool = True) -> "Leaderboard":
        """Ranks the trials of a sweep.

        Raises:
            ConfigError: no trial has the metric.
        """
        names = [name for name in varying_parameters([r.overrides for r in records]) if name != SEED]
        points = ranked_points(records, metric, maximize, names)
        if points and not any(point.values for point in points):
            raise ConfigError(
                f"metric: no finished trial has {metric!r}; it may be training.best_value or cost.size_mib"
            )
        return cls(metric=metric, maximize=maximize, names=names, points=points)

    @property
    def best(self) -> Record | None:
        """The best seed of the best point; None where no trial finished."""
        return self.points[0].best if self.points else None

    @property
    def title(self) -> str:
        """What it is ordered by."""
        return f"{self.metric}, best first{'' if self.maximize else ' (the lowest)'}"

    @property
    def notes(self) -> list[str]:
        """What to know before the best point is taken, a sentence each; empty where there is nothing."""
        notes = []
        if self.best is not None and (num := len(self.points[0].values)) < len(self.points[0].trials):
            notes.append(f"the mean of the best point is that of {num} of its trials alone ({self.points[0].states})")
        if fewer := sum(bool(point.values) and not point.is_complete for point in self.points):
            notes.append(f"{fewer} of the points have a value of fewer seeds than others, and come after these")
        if is_reported(self.metric) and sum(bool(point.values) for point in self.points) > 1:
            notes.append(
                f"{self.metric} was measured on the test part: whoever takes the best point has chosen on it, so no"
                " number of that part is unseen (metric=training.best_value ranks by the validation part)"
            )
        return notes

    def arrow(self) -> pa.Table:
        """The leaderboard as a table with one row per point.

        Its columns are the varying parameters (null where a trial was given none), mean, low and high (95 % interval),
        p, seeds (their number), the costs, trials (their numbers) and states.
        """
        rows = [
            {
                **{name: point.given.get(name) for name in self.names},
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
        """Columns and rows as text. Columns without any value, such as the interval of single seeds, are left out."""
        columns = ["", *self.names, self.metric, "95 %", "p", "seeds", *COSTS, "trials"]
        rows = [[f"{number}", *self._row(point)] for number, point in enumerate(self.points, 1)]
        filled = [at for at in range(len(columns)) if any(row[at] for row in rows)]
        return [columns[at] for at in filled], [[row[at] for at in filled] for row in rows]

    def _row(self, point: Point) -> list[str]:
        interval = "" if point.interval is None else f"{point.interval[0]:.4f} .. {point.interval[1]:.4f}"
        costs = ["" if cost is None else f"{cost:.4g}" for cost in point.costs.values()]
        mean, p = "" if point.mean is None else f"{point.mean:.4f}", "" if point.p is None else f"{point.p:.3g}"
        given = [point.given.get(name, "") for name in self.names]
        return [*given, mean, interval, p, f"{len(point.values)}", *costs, point.states]

    def table(self, max_rows: int = 20) -> Table:
        """The first rows as a table for a terminal."""
        columns, rows = self.cells()
        is_tested = any(point.p is not None for point in self.points)
        caption = "p: paired t-tests against the best, over seeds, by Holm's correction" if is_tested else None
        table = Table(title=self.title, caption=caption)
        for column in columns:
            table.add_column(column)
        for row in rows[:max_rows]:
            table.add_row(*row)
        return table

    def commands(self, module: str, options: Sequence[str] = ()) -> list[str]:
        """The commands that reproduce the best trial and publish its checkpoint; empty where no trial finished.

        Args:
            module: what the sweep ran.
            options: arguments that say where the config lies, such as `--config-dir` and its folder.
        """
        if self.best is None:
            return []
        overrides = self.best.overrides
        commands = [command("python", "-m", module, *options, *overrides)]
        if checkpoint := self.best.value("checkpoint"):
            storage = [each for each in overrides if each.startswith("storage.")]
            published = override("checkpoint", str(checkpoint))
            commands.append(command("python", "-m", "serve.publish", *options, published, *storage))
        return commands
