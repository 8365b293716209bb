"""What a report holds, and what it is asked to hold; measured in towers/evaluation/measure.py, shown in towers/evaluation/tables.py."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from data.artifacts.errors import ConfigError
from towers.evaluation.baselines import Floor

TOWERS, RERANKED, RELEVANT = "towers", "towers + re-ranker", "relevant"


@dataclass(frozen=True)
class Report:
    """Means over all users of a split, JSON values throughout.

    Attributes:
        k: cut-off of `slices` and `shown`.
        metrics, reranked, floors: by metric ("recall@20"), of the towers, of towers and re-ranker, and of each floor.
        intervals: by ranking and metric, [low, high] at 95 % over users; coverage and Gini are no means and have none.
        lift: by metric, [difference, low, high] of the re-ranked less the towers', paired by user.
        calibration: of the re-ranker's log-odds on the candidates that it ranked; None unfitted.
        slices: group, name, num_users, num_relevant, and recall@k (of `random` too) with intervals, by ranking.
        shown: by ranking, and for the relevant items, shares of cold items and of the tenths by popularity.
        notes: what a reader should know.
    """

    split: str
    num_queries: int
    k: int
    metrics: dict[str, float]
    reranked: dict[str, float]
    floors: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, list[float]]]
    lift: dict[str, list[float]]
    calibration: dict[str, Any] | None
    slices: list[dict[str, Any]]
    shown: dict[str, list[float]]
    notes: list[str]

    @property
    def rankings(self) -> dict[str, dict[str, float]]:
        """All that was measured: floors first, in the order of `Floor` (JSON sorts them by name)."""
        names = [str(floor.value) for floor in Floor if floor.value in self.floors]
        return {**{name: self.floors[name] for name in names}, TOWERS: self.metrics, RERANKED: self.reranked}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def report_of(manifest: dict[str, Any]) -> Report:
    """The report that a checkpoint or release carries.

    Raises:
        ValueError: it was made before reports held what they hold now.
    """
    names = [f.name for f in fields(Report)]
    if missing := [name for name in names if name not in manifest]:
        raise ConfigError(
            f"the report in this manifest has no {', '.join(missing)}: measure again with towers.evaluate"
        )
    return Report(**{name: manifest[name] for name in names})
