"""Watches what is on trial: `python -m serve.run` does so by itself, `python -m serve.guard` for an endpoint elsewhere.

Every variant of an experiment is held against control by what both have shown (serve/experiments/exposures.py): failures, degraded
answers, latency, and how much of the catalogue is shown in as many answers. What is past the bounds, and not by chance,
is rolled back, and the reason is kept.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.errors import ConfigError
from serve.experiments.assignment import CONTROL

BY_CHANCE = 0.001
"""A rise that chance would bring this often is none. (The guard looks again and again.)"""

MIN_MS = 2.0
"""A release is not slow for less than this more."""


@dataclass(kw_only=True, slots=True)
class GuardConfig:
    """Bounds of a release on trial, conf/guard.

    Attributes:
        every_s: between two looks.
        min_requests: of each variant, before it is judged.
        max_failed_rise, max_degraded_rise: of the share of such answers, over control's.
        max_latency_ratio: of the 95th percentiles.
        min_coverage_ratio: of the distinct items that both show in as many answers.
    """

    enabled: bool = True
    every_s: float = 5.0
    min_requests: int = 200
    max_failed_rise: float = 0.005
    max_degraded_rise: float = 0.02
    max_latency_ratio: float = 1.5
    min_coverage_ratio: float = 0.5

    def __post_init__(self) -> None:
        if not self.every_s > 0 or self.min_requests < 1:
            raise ConfigError(
                f"guard.every_s ({self.every_s}) must be above 0, guard.min_requests ({self.min_requests}) at least 1"
            )


def judged(config: GuardConfig, shown: pa.Table) -> list[str]:
    """What is past its bounds, in words; empty while nothing is, or too little is known."""
    of = {
        variant: shown.filter(pc.equal(shown["variant"], variant))
        for variant in pc.unique(shown["variant"]).to_pylist()
    }
    control = of.pop(CONTROL, shown.slice(0, 0))
    if len(control) < config.min_requests:
        return []
    return [
        f"{variant}: {fault}"
        for variant, trial in of.items()
        if len(trial) >= config.min_requests
        for fault in _faults(config, trial, control)
    ]


def _faults(config: GuardConfig, trial: pa.Table, control: pa.Table) -> list[str]:
    found = []
    for name, most in (("failed", config.max_failed_rise), ("degraded", config.max_degraded_rise)):
        bad, usual = (int(pc.sum(table[name]).as_py() or 0) for table in (trial, control))
        rise = bad / len(trial) - usual / len(control)
        if rise > most and _p_of_rise(bad, len(trial), usual, len(control)) < BY_CHANCE:
            found.append(f"{bad / len(trial):.1%} of its answers {name}, control's {usual / len(control):.1%}")
    slow, usual_ms = (float(np.percentile(table["took_ms"].to_numpy(), 95)) for table in (trial, control))
    if slow > max(config.max_latency_ratio * usual_ms, usual_ms + MIN_MS) and _clearly_slower(trial, usual_ms):
        found.append(f"p95 {slow:.1f} ms, control's {usual_ms:.1f} ms")
    answers = min(len(trial), len(control))
    ours, theirs = (_distinct(table, answers) for table in (trial, control))
    if ours < config.min_coverage_ratio * theirs:
        found.append(f"{ours:,} distinct items in {answers:,} answers, control {theirs:,}")
    return found


def _p_of_rise(bad: int, trials: int, usual: int, controls: int) -> float:
    """Of so many more by chance: Fisher's exact test, one-sided."""
    from scipy import stats  # takes half a second, which every command would wait for

    counts = [[bad, trials - bad], [usual, controls - usual]]
    return float(stats.fisher_exact(counts, alternative="greater").pvalue)


def _clearly_slower(trial: pa.Table, usual_ms: float) -> bool:
    """More of its answers than chance would bring take longer than all but 5 % of control's."""
    from scipy import stats

    longer = int((trial["took_ms"].to_numpy() > usual_ms).sum())
    return float(stats.binomtest(longer, len(trial), 0.05, alternative="greater").pvalue) < BY_CHANCE


def _distinct(shown: pa.Table, answers: int) -> int:
    """Items in so many answers, spread over the whole time."""
    at = np.linspace(0, len(shown) - 1, answers).astype(np.int64)
    return len(pc.unique(pc.list_flatten(shown["item_ids"].combine_chunks().take(pa.array(at)))))
