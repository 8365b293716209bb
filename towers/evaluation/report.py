"""The report of a measurement, and its JSON form in the manifests of checkpoints and releases."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.structured import to_json_keys
from towers.evaluation.config import Baseline
from towers.evaluation.intervals import MIN_USERS

TOWERS, RERANKED = "towers", "towers + re-ranker"
"""Names of the two rankings that are measured beside the baselines."""

RELEVANT = "relevant"
"""Name of the held-out items themselves, where they are compared with what the rankings recommend."""

NO_KNOWN_USERS = (
    "the towers know no user of the test part: all get popular items, re-ranking changes nothing, and what it predicts"
    " cannot be compared with what was taken"
)
"""The note on a measurement of a fitted re-ranker that had nothing to order, so that it has no calibration."""

JSON_KEYS = {"baselines": "floors", "recommended_shares": "shown"}
"""Fields whose key in JSON differs from their name: manifests keep the keys that earlier versions wrote."""


@dataclass(frozen=True)
class Report:
    """Quality of a model and of the baselines, as means over all users of a split. All values are JSON values.

    Attributes:
        split: the split that was measured.
        num_queries: number of users measured.
        k: cut-off of `slices` and of `recommended_shares`.
        metrics, reranked: by metric ("recall@20"), of the towers alone and of towers with re-ranker.
        baselines: by baseline, then by metric.
        intervals: by ranking and metric, [low, high] at 95 % over users. Coverage and Gini are not means over users and
            have none.
        lift: by metric, [difference, low, high] of the re-ranked ranking minus the towers' ranking, paired by user.
        calibration: of the re-ranker's log-odds on the candidates that it ranked; None where it was not fitted, or
            ranked none.
        slices: group, name, num_users, num_relevant, and recall@k with intervals, by ranking ("random" included).
        recommended_shares: by ranking, and for the relevant items: the shares that go to cold items and to each decile
            of the items by popularity.
        notes: what a reader should know about this measurement.
        goals: name, weight, num_hits, and auc and calibration_error of the re-ranker's probabilities, by goal; the
            last two are None where it ranked no candidate.
        ahead: of the towers and of towers with re-ranker, by baseline and metric at `k`: [difference, low, high] of
            that ranking minus the baseline's, paired by user. Empty in reports of before it was measured.
    """

    split: str
    num_queries: int
    k: int
    metrics: dict[str, float]
    reranked: dict[str, float]
    baselines: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, list[float]]]
    lift: dict[str, list[float]]
    calibration: dict[str, Any] | None
    slices: list[dict[str, Any]]
    recommended_shares: dict[str, list[float]]
    notes: list[str]
    goals: list[dict[str, Any]] = field(default_factory=list)
    ahead: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    @property
    def rankings(self) -> dict[str, dict[str, float]]:
        """Metrics of every ranking: baselines first, in the order of `Baseline` (JSON sorts them by name)."""
        names = [str(baseline.value) for baseline in Baseline if baseline.value in self.baselines]
        return {**{name: self.baselines[name] for name in names}, TOWERS: self.metrics, RERANKED: self.reranked}

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the highest nDCG at `k`; None where none was measured."""
        return max(self.baselines, key=lambda name: self.baselines[name][f"ndcg@{self.k}"], default=None)

    def as_json(self) -> dict[str, Any]:
        """The report as it is written into manifests; `report_of` reads it back."""
        return to_json_keys(asdict(self), JSON_KEYS)


def users_notes(num_users: int, sampled_from: int | None) -> list[str]:
    """That some of the users of a split were asked, and that they are too few for intervals, where it is so.

    Args:
        num_users: those who were asked.
        sampled_from: the number that they were drawn from; None where they are all.
    """
    few = few_users_notes(num_users)
    if sampled_from is None:
        return few
    return [f"measured on {num_users:,} of {sampled_from:,} users, drawn at random", *few]


def few_users_notes(num_users: int) -> list[str]:
    """That these users are too few for what is said of intervals, where it is so."""
    if num_users >= MIN_USERS:
        return []
    return [f"{num_users} users are too few for intervals, which need {MIN_USERS}: theirs say nothing of other users"]


def report_of(manifest: dict[str, Any]) -> Report:
    """The report that the manifest of a checkpoint or of a release carries.

    Raises:
        ConfigError: the manifest was written by an earlier version, whose reports lack some of the fields.
    """
    keys = {f.name: _json_key(f.name) for f in fields(Report)}
    required = [f.name for f in fields(Report) if f.default_factory is MISSING]
    if missing := [keys[name] for name in required if keys[name] not in manifest]:
        raise ConfigError(
            f"the report in this manifest has no {', '.join(missing)}: measure again with towers.evaluate"
        )
    return Report(**{name: manifest[key] for name, key in keys.items() if key in manifest})


def is_reported(path: str) -> bool:
    """Whether a dotted path into what a training returns is of its report, which is measured on the test part.

    Args:
        path: such as metrics.ndcg@20; training.best_value and cost.size_mib are of no report.
    """
    return path.partition(".")[0] in {_json_key(f.name) for f in fields(Report)}


def _json_key(name: str) -> str:
    return JSON_KEYS.get(name, name)
