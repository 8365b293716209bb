"""Is one model better than another, or lucky with its users? `python -m towers.compare checkpoint=A baseline=B`.

Both are measured on the same users of the test part; each user's difference is a pair. For each metric: the mean
difference, its bootstrap interval, and the p of a sign-flip test (towers/evaluation/intervals.py). No correction is made for
looking at several metrics: decide on one beforehand.
"""

from dataclasses import asdict, dataclass

import numpy as np
from rich.table import Table

from towers.evaluation.config import EvaluateConfig
from towers.evaluation.intervals import FLIPS, LEVEL, intervals, sign_flip_test
from towers.evaluation.measure import SEED
from towers.evaluation.tables import Cells

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


def cells(found: list[Difference]) -> Cells:
    rows = [asdict(d) for d in found]
    return list(rows[0]), [list(row.values()) for row in rows]
