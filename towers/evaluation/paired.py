"""Paired comparison of two models: whether one is better, or the difference may be due to chance.

Both models are measured on the same users; each user's difference is a pair. For each metric this gives the mean
difference, its bootstrap interval, and the p-value of a sign-flip test (towers/evaluation/intervals.py). There is no
correction for testing several metrics: decide on one metric before looking.

Shape legend: Q queries (users), M metrics.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.table import Table

from towers.evaluation.config import EvaluateConfig
from towers.evaluation.intervals import FLIPS, LEVEL, SEED, intervals, sign_flip_test
from towers.evaluation.measure import Columns
from towers.evaluation.presentation.tables import Cells
from towers.evaluation.report import few_users_notes


@dataclass(frozen=True)
class Difference:
    """One metric of one ranking (the towers, or the towers with re-ranker), paired by user.

    Attributes:
        baseline, checkpoint: means of the two models.
        difference: checkpoint minus baseline.
        interval: [low, high] of the difference at 95 %.
        p: two-sided p-value under the hypothesis of no difference.
        num_users: number of the pairs.
    """

    ranking: str
    metric: str
    baseline: float
    checkpoint: float
    difference: float
    interval: list[float]
    p: float
    num_users: int

    @property
    def is_significant(self) -> bool:
        """Whether the hypothesis of no difference is rejected at 5 %."""
        return self.p < 1 - LEVEL


def differences(ranking: str, ours: Columns, theirs: Columns, config: EvaluateConfig) -> list[Difference]:
    """Tests each metric of `ours` (the checkpoint) against the same metric of `theirs` (the baseline)."""
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
            num_users=len(difference_QM),
        )
        for m, metric in enumerate(ours)
    ]


def difference_table(differences: Sequence[Difference], title: str, k: int) -> Table:
    """The metrics at cut-off k; a difference whose p-value is below 5 % is marked with an asterisk."""
    caption = f"difference: 95 % bootstrap interval over users; p: sign flips by user, {FLIPS:,}; * p < .05, per metric"
    few = [note for d in differences[:1] for note in few_users_notes(d.num_users)]
    table = Table(title=title, caption="\n".join([caption, *few]), caption_justify="left")
    for column in ("", "metric", "baseline", "checkpoint", "difference", "95 % interval", "p"):
        table.add_column(column, justify="left" if column in ("", "metric") else "right")
    for d in differences:
        if d.metric.endswith(f"@{k}"):
            interval = f"{d.interval[0]:+.4f} .. {d.interval[1]:+.4f}"
            values = (f"{d.baseline:.4f}", f"{d.checkpoint:.4f}", f"{d.difference:+.4f}", interval)
            table.add_row(d.ranking, d.metric, *values, f"{d.p:.4f}{'*' if d.is_significant else ' '}")
    return table


def difference_cells(differences: Sequence[Difference]) -> Cells:
    """All differences as plain columns and rows, for experiment tracking."""
    rows = [asdict(d) for d in differences]
    return list(rows[0]), [list(row.values()) for row in rows]
