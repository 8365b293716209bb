"""Is one model better than another, or lucky with its users? `python -m towers.compare checkpoint=A baseline=B`.

Both are measured on the same users of the test part; each user's difference is a pair. For each metric: the mean
difference, its bootstrap interval, and the p of a sign-flip test (towers/intervals.py). No correction is made for
looking at several metrics: decide on one beforehand.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from data.prepare import jsonable
from data.prepared import PreparedDataset
from data.split import TEST
from data.storage import Folder
from towers.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from towers.intervals import FLIPS, LEVEL, intervals, sign_flip_test
from towers.measure import SEED, accuracy, tower_rankings
from towers.ranking import HeldOut, queries_of
from towers.report import RERANKED, TOWERS, EvaluateConfig
from towers.runs import open_for
from towers.tables import Cells
from towers.tracking import Tracker

if TYPE_CHECKING:
    from conf.schema import Config

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """One metric of one ranking (the towers, or the towers re-ranked), paired by user.

    Attributes:
        difference: checkpoint - baseline.
        interval: [low, high] of the difference at 95 %.
        p: two-sided, of no difference.
    """

    ranking: str
    metric: str
    baseline: float
    checkpoint: float
    difference: float
    interval: list[float]
    p: float

    @property
    def is_clear(self) -> bool:
        return self.p < 1 - LEVEL


def compare(
    checkpoint: Checkpoint, baseline: Checkpoint, dataset: PreparedDataset, config: EvaluateConfig
) -> list[Difference]:
    """All metrics at all cut-offs, of the towers and of the towers re-ranked.

    Raises:
        CheckpointError: one of them was trained on another dataset.
    """
    for one in (checkpoint, baseline):
        _check(one, dataset)
    held_out = queries_of(dataset)
    ours, theirs = (_per_user(one, held_out, config) for one in (checkpoint, baseline))
    return [d for ranking in (TOWERS, RERANKED) for d in differences(ranking, ours[ranking], theirs[ranking], config)]


def differences(ranking: str, ours: Columns, theirs: Columns, config: EvaluateConfig) -> list[Difference]:
    """Each metric's values per user, float64 [Q], tested against the baseline's."""
    difference_QM = np.stack([ours[metric] - theirs[metric] for metric in ours], axis=1)
    bounds_M2 = intervals(difference_QM, SEED, config.resamples)
    p_M = sign_flip_test(difference_QM, SEED)
    return [
        Difference(
            ranking=ranking,
            metric=metric,
            baseline=float(theirs[metric].mean()),
            checkpoint=float(ours[metric].mean()),
            difference=float(difference_QM[:, m].mean()),
            interval=bounds_M2[m].tolist(),
            p=float(p_M[m]),
        )
        for m, metric in enumerate(ours)
    ]


def table(found: list[Difference], title: str, k: int) -> Table:
    """Metrics at k; a difference whose p is below 5 % is marked."""
    caption = f"difference: 95 % bootstrap interval over users; p: sign flips by user, {FLIPS:,}; * p < .05, per metric"
    shown = Table(title=title, caption=caption, caption_justify="left")
    for column in ("", "metric", "baseline", "checkpoint", "difference", "95 % interval", "p"):
        shown.add_column(column, justify="left" if column in ("", "metric") else "right")
    for d in found:
        if d.metric.endswith(f"@{k}"):
            interval = f"{d.interval[0]:+.4f} .. {d.interval[1]:+.4f}"
            values = (f"{d.baseline:.4f}", f"{d.checkpoint:.4f}", f"{d.difference:+.4f}", interval)
            shown.add_row(d.ranking, d.metric, *values, f"{d.p:.4f}{'*' if d.is_clear else ' '}")
    return shown


def _check(checkpoint: Checkpoint, dataset: PreparedDataset) -> None:
    of = checkpoint.manifest["dataset"]
    if of["fingerprint"] != dataset.fingerprint:
        raise CheckpointError(
            f"checkpoint {checkpoint.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), the other on"
            f" {dataset.manifest['name']} ({dataset.fingerprint[:10]}): only checkpoints of one dataset can be compared"
        )


def _per_user(checkpoint: Checkpoint, held_out: HeldOut, config: EvaluateConfig) -> dict[str, Columns]:
    model, reranker, counts_I = checkpoint.model, checkpoint.reranker, checkpoint.counts_I
    rankings = tower_rankings(model, reranker, held_out, counts_I, config.batch_size)
    return {name: accuracy(r, held_out, len(counts_I), list(config.ks)) for name, r in rankings.items()}


def _opened(config: "Config") -> tuple[Checkpoint, Checkpoint, PreparedDataset]:
    """`checkpoint` (default: the one that this config trains), `baseline`, and the dataset they tell of."""
    if not config.baseline:
        raise ValueError(
            "baseline: null is no checkpoint folder; name the one to compare with, baseline=var/checkpoints/..."
        )
    baseline = open_checkpoint(Folder.of(config.baseline))
    if not config.checkpoint:
        checkpoint, dataset = open_for(config)
        return checkpoint, baseline, dataset
    checkpoint = open_checkpoint(Folder.of(config.checkpoint))
    return checkpoint, baseline, PreparedDataset.open(Folder.of(checkpoint.manifest["dataset"]["folder"]))


def cells(found: list[Difference]) -> Cells:
    rows = [asdict(d) for d in found]
    return list(rows[0]), [list(row.values()) for row in rows]


def task(config: "Config") -> dict[str, Any]:
    """Entry point: a paired test of `checkpoint` against `baseline`."""
    from conf.session import connect, show

    connect(config.cluster)
    checkpoint, baseline, dataset = _opened(config)
    found = compare(checkpoint, baseline, dataset, config.evaluate)
    show(table(found, f"{checkpoint.name} against {baseline.name}: {TEST} part, paired by user", config.evaluate.k))
    names = {"checkpoint": str(checkpoint.folder), "baseline": str(baseline.folder)}
    tracker = Tracker(config.tracking, checkpoint.name, jsonable(config) | names, kind=f"against-{baseline.name}")
    tracker.show({f"{d.ranking}/{d.metric}/difference": d.difference for d in found}, {"differences": cells(found)})
    tracker.finish()
    return {**names, "split": TEST, "differences": [asdict(d) for d in found]}


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.compare")
