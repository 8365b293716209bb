"""Canary analysis: whether a release on trial is worse than the live one, judged by the answers of both.

Each variant of an experiment is compared with control by its exposures (serve/experiments/exposures.py): the share of
failed and of degraded answers, latency, and how much of the catalogue is recommended in equally many answers. A
variant is worse where a difference exceeds its configured bound and, for failures, degradation and latency, is too
large to be due to chance.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.records import arrow_compute as pc
from serve.experiments.assignment import CONTROL

SIGNIFICANCE_LEVEL = 0.001
"""A difference counts if its p-value is below this, which is small because the analysis runs every few seconds."""

MIN_LATENCY_RISE_MS = 2.0
"""Milliseconds. A smaller rise of the 95th percentile never counts as slow, whatever the ratio."""


@dataclass(kw_only=True, slots=True)
class GuardConfig:
    """The bounds that a release on trial must keep; their values are in conf/guard.

    Attributes:
        enabled: whether serve.run watches experiments.
        every_s: seconds between two analyses.
        min_requests: requests of each variant, and of control, before the variant is judged.
        max_failed_rise: the largest difference between the variant's and control's share of failed requests.
        max_degraded_rise: the same for degraded answers.
        max_latency_ratio: the largest ratio of the variant's to control's 95th percentile of the latency.
        min_coverage_ratio: the smallest ratio of the distinct items that the variant recommends to those of control, in
            equally many answers.
        max_deaths: how many replicas may die (killed, out of memory) while they take part in the experiment. Which
            release a replica died of cannot be told, so a release that kills replicas shows in their number.
    """

    enabled: bool = True
    every_s: float = bounded(5.0, above=0)
    min_requests: int = bounded(200, at_least=1)
    max_failed_rise: float = bounded(0.005, at_least=0)
    max_degraded_rise: float = bounded(0.02, at_least=0)
    max_latency_ratio: float = bounded(1.5, above=0)
    min_coverage_ratio: float = bounded(0.5, at_least=0)
    max_deaths: int = bounded(2, at_least=0)

    def __post_init__(self) -> None:
        check_bounds(self, "guard")


def find_regressions(config: GuardConfig, exposures: pa.Table) -> list[str]:
    """Describes in words where a variant is worse than control; empty where none is, or where there is too little data.

    Args:
        exposures: the exposures of one experiment, with the schema `serve.experiments.exposures.SCHEMA`.
    """
    by_variant = {
        variant: exposures.filter(pc.equal(exposures["variant"], variant))
        for variant in pc.unique(exposures["variant"]).to_pylist()
    }
    control = by_variant.pop(CONTROL, exposures.slice(0, 0))
    if len(control) < config.min_requests:
        return []
    return [
        f"{variant}: {regression}"
        for variant, trial in by_variant.items()
        if len(trial) >= config.min_requests
        for regression in _regressions(config, trial, control)
    ]


def _regressions(config: GuardConfig, trial: pa.Table, control: pa.Table) -> list[str]:
    """Describes where one variant's exposures are worse than control's."""
    found = []
    for name, max_rise in (("failed", config.max_failed_rise), ("degraded", config.max_degraded_rise)):
        bad, bad_control = (int(pc.sum(table[name]).as_py() or 0) for table in (trial, control))
        rise = bad / len(trial) - bad_control / len(control)
        if rise > max_rise and _p_of_rise(bad, len(trial), bad_control, len(control)) < SIGNIFICANCE_LEVEL:
            found.append(f"{bad / len(trial):.1%} of its answers {name}, control's {bad_control / len(control):.1%}")
    p95_ms, control_p95_ms = (float(np.percentile(table["took_ms"].to_numpy(), 95)) for table in (trial, control))
    bound_ms = max(config.max_latency_ratio * control_p95_ms, control_p95_ms + MIN_LATENCY_RISE_MS)
    if p95_ms > bound_ms and _is_significantly_slower(trial, control_p95_ms):
        found.append(f"p95 {p95_ms:.1f} ms, control's {control_p95_ms:.1f} ms")
    num_answers = min(len(trial), len(control))
    distinct, distinct_control = (_num_distinct_items(table, num_answers) for table in (trial, control))
    if distinct < config.min_coverage_ratio * distinct_control:
        found.append(f"{distinct:,} distinct items in {num_answers:,} answers, control {distinct_control:,}")
    return found


def _p_of_rise(bad: int, num_trial: int, bad_control: int, num_control: int) -> float:
    """The p-value of Fisher's exact test, one-sided: whether bad answers are more frequent than in control."""
    from scipy import stats  # imported here, because the import takes half a second and few commands need it

    counts = [[bad, num_trial - bad], [bad_control, num_control - bad_control]]
    return float(stats.fisher_exact(counts, alternative="greater").pvalue)


def _is_significantly_slower(trial: pa.Table, control_p95_ms: float) -> bool:
    """Whether more than 5 % of the variant's answers take longer than control's 95th percentile (binomial test)."""
    from scipy import stats

    num_longer = int((trial["took_ms"].to_numpy() > control_p95_ms).sum())
    return float(stats.binomtest(num_longer, len(trial), 0.05, alternative="greater").pvalue) < SIGNIFICANCE_LEVEL


def _num_distinct_items(exposures: pa.Table, num_answers: int) -> int:
    """The distinct items in a number of answers, spread evenly over all of them."""
    indices = np.linspace(0, len(exposures) - 1, num_answers).astype(np.int64)
    return len(pc.unique(pc.list_flatten(exposures["item_ids"].combine_chunks().take(pa.array(indices)))))
