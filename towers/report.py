"""What a report holds, and what it is asked to hold; measured in towers/measure.py, shown in towers/tables.py."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from towers.floors import Floor
from towers.intervals import RESAMPLES
from towers.ranking import RANKS

TOWERS, RERANKED, RELEVANT = "towers", "towers + re-ranker", "relevant"


@dataclass(kw_only=True, slots=True)
class Peer:
    """What others have published on the same data and split, shown beside what is measured.

    Attributes:
        source: where it is published.
        metrics: by the names of ours, such as {recall@20: 0.19}.
    """

    name: str
    source: str
    metrics: dict[str, float]


@dataclass(kw_only=True, slots=True)
class EvaluateConfig:
    """What is reported.

    Attributes:
        ks: cut-offs of the metrics, at most 100.
        k: the one of them that tables, slices and plots show.
        batch_size: users scored at a time.
        floors: what is measured beside the towers.
        recent_share: share of the interactions, by time, that recent popularity counts.
        resamples: of the bootstrap intervals.
        peers: published results.
    """

    ks: list[int] = field(default_factory=lambda: [5, 10, 20, 50])
    k: int = 20
    batch_size: int = 512
    floors: list[Floor] = field(default_factory=lambda: list(Floor))
    recent_share: float = 0.1
    resamples: int = RESAMPLES
    peers: list[Peer] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.ks or not all(1 <= k <= RANKS for k in self.ks):
            raise ValueError(f"evaluate.ks: {list(self.ks)} must be cut-offs between 1 and {RANKS}")
        if self.k not in self.ks:
            raise ValueError(f"evaluate.k: {self.k} must be one of evaluate.ks {list(self.ks)}; add it there")
        for name in ("batch_size", "resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"evaluate.{name}: {getattr(self, name)} must be at least 1")
        if not 0 < self.recent_share <= 1:
            raise ValueError(f"evaluate.recent_share: {self.recent_share} must lie in (0, 1]")


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
        raise ValueError(f"the report in this manifest has no {', '.join(missing)}: measure again with towers.evaluate")
    return Report(**{name: manifest[name] for name in names})
