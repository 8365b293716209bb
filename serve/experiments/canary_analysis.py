"""Canary analysis: whether a release on trial is worse than the live one, judged by the answers of both.

Each variant of an experiment is compared with control by its exposures (serve/experiments/exposures.py): the share of
failed and of degraded answers, latency, and how much of the catalogue is recommended in equally many answers. A
variant is worse where a difference exceeds its configured bound and is too large to be due to chance.

What is due to chance is judged by users, each of whom counts once: the answers to one user, who may be a monitor that
asks the same again and again, are alike. A request without a user counts by itself.

Shape legend: N answers of a variant, U users.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.records import arrow_compute as pc
from serve.experiments.assignment import CONTROL
from serve.experiments.coverage import num_distinct_items, p_of_narrower

SIGNIFICANCE_LEVEL = 0.001
"""A difference counts if its p-value is below this, which is small because the analysis runs every few seconds."""

MIN_USERS = 20
"""Users of a variant, and of control, below which nothing is judged."""

MAX_ANSWERS = 20_000
"""A variant is judged by at most this many of its answers, the latest."""

MIN_LATENCY_RISE_MS = 2.0
"""Milliseconds. A smaller rise of the 95th percentile never counts as slow, whatever the ratio."""


@dataclass(kw_only=True, slots=True)
class GuardConfig:
    """The bounds that a release on trial must keep; their values are in conf/guard.

    Attributes:
        enabled: whether serve.run watches experiments.
        every_s: seconds between two analyses.
        min_requests: requests of each variant, and of control, before the variant is judged; they must be of at least
            MIN_USERS users.
        max_failed_rise: the largest difference between the variant's and control's share of failed requests.
        max_degraded_rise: the same for degraded answers.
        max_latency_ratio: the largest ratio of the variant's to control's 95th percentile of the latency.
        min_coverage_ratio: the smallest ratio of the distinct items that the variant recommends to those of control, in
            equally many answers.
        max_deaths: how many replicas may die (killed, out of memory) within `deaths_within_s` while they take part in
            the experiment. Those whose machine, or pod, is gone with them do not count: nodes fail, and clusters are
            replaced. Which release a replica died of cannot be told, so a release that kills replicas shows in their
            number.
        deaths_within_s: seconds after which a death is forgotten.
    """

    enabled: bool = True
    every_s: float = bounded(5.0, above=0)
    min_requests: int = bounded(200, at_least=1, at_most=MAX_ANSWERS)
    max_failed_rise: float = bounded(0.005, at_least=0)
    max_degraded_rise: float = bounded(0.02, at_least=0)
    max_latency_ratio: float = bounded(1.5, above=0)
    min_coverage_ratio: float = bounded(0.5, at_least=0)
    max_deaths: int = bounded(2, at_least=0)
    deaths_within_s: float = bounded(86_400.0, above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "guard")


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers of one variant.

    Attributes:
        exposures: one row each.
        user_N: int, the user of each; a request without a user is one of its own.
        last_U: int64, the last row of each user.
    """

    exposures: pa.Table
    user_N: np.ndarray
    last_U: np.ndarray

    @classmethod
    def of(cls, exposures: pa.Table, variant: str) -> "_Answers":
        """The answers of a variant that are recorded among these exposures."""
        exposures = exposures.filter(pc.equal(exposures["variant"], variant))
        users = pc.coalesce(exposures["user"], exposures["request_id"]).combine_chunks().dictionary_encode()
        user_N = users.indices.to_numpy()
        last_U = np.zeros(len(users.dictionary), dtype=np.int64)
        np.maximum.at(last_U, user_N, np.arange(len(user_N)))
        return cls(exposures, user_N, last_U)

    def __len__(self) -> int:
        return len(self.exposures)

    @property
    def num_users(self) -> int:
        """How many users they are to."""
        return len(self.last_U)

    @property
    def took_ms_N(self) -> np.ndarray:
        """float32 [N]: milliseconds of each."""
        took_ms: np.ndarray = self.exposures["took_ms"].to_numpy()
        return took_ms

    def bad(self, name: str) -> tuple[int, int]:
        """How many of them failed, or are degraded, and how many users had such an answer."""
        is_bad_N = self.exposures[name].to_numpy()
        return int(is_bad_N.sum()), len(np.unique(self.user_N[is_bad_N]))

    def last_items(self, num_users: int) -> pa.ListArray:
        """The item ids of the last answers to a number of users, spread evenly over all of them."""
        chosen = np.linspace(0, self.num_users - 1, num_users).astype(np.int64)
        return self.exposures["item_ids"].combine_chunks().take(pa.array(np.sort(self.last_U)[chosen]))


def find_regressions(config: GuardConfig, exposures: pa.Table) -> list[str]:
    """Describes in words where a variant is worse than control; empty where none is, or where there is too little data.

    Args:
        exposures: the exposures of one experiment, with the schema `serve.experiments.exposures.SCHEMA`.
    """
    control = _Answers.of(exposures, CONTROL)
    trials = {
        variant: _Answers.of(exposures, variant)
        for variant in pc.unique(exposures["variant"]).to_pylist()
        if variant != CONTROL
    }
    return [
        f"{variant}: {regression}"
        for variant, trial in trials.items()
        if _are_enough(config, trial, control)
        for regression in _regressions(config, trial, control)
    ]


def can_be_judged(config: GuardConfig, exposures: pa.Table, variant: str) -> bool:
    """Whether a variant, and control, have given enough answers to enough users."""
    return _are_enough(config, *(_Answers.of(exposures, each) for each in (variant, CONTROL)))


def _are_enough(config: GuardConfig, *of_variants: _Answers) -> bool:
    return all(len(answers) >= config.min_requests and answers.num_users >= MIN_USERS for answers in of_variants)


def _regressions(config: GuardConfig, trial: _Answers, control: _Answers) -> list[str]:
    """Describes where one variant's answers are worse than control's."""
    found = []
    for name, max_rise in (("failed", config.max_failed_rise), ("degraded", config.max_degraded_rise)):
        (bad, bad_users), (bad_control, bad_users_control) = trial.bad(name), control.bad(name)
        rise = bad / len(trial) - bad_control / len(control)
        p = _p_of_rise(bad_users, trial.num_users, bad_users_control, control.num_users)
        if rise > max_rise and p < SIGNIFICANCE_LEVEL:
            found.append(f"{bad / len(trial):.1%} of its answers {name}, control's {bad_control / len(control):.1%}")
    p95_ms, control_p95_ms = (float(np.percentile(answers.took_ms_N, 95)) for answers in (trial, control))
    bound_ms = max(config.max_latency_ratio * control_p95_ms, control_p95_ms + MIN_LATENCY_RISE_MS)
    if p95_ms > bound_ms and _is_significantly_slower(trial, control_p95_ms):
        found.append(f"p95 {p95_ms:.1f} ms, control's {control_p95_ms:.1f} ms")
    num_users = min(trial.num_users, control.num_users)
    items, items_control = (answers.last_items(num_users) for answers in (trial, control))
    distinct, distinct_control = num_distinct_items(items), num_distinct_items(items_control)
    is_narrower = distinct < config.min_coverage_ratio * distinct_control
    if is_narrower and p_of_narrower(items, items_control) < SIGNIFICANCE_LEVEL:
        found.append(f"{distinct:,} distinct items in {num_users:,} answers, control {distinct_control:,}")
    return found


def _p_of_rise(bad: int, num_trial: int, bad_control: int, num_control: int) -> float:
    """The p-value of Fisher's exact test, one-sided: whether more of the users have bad answers than in control."""
    from scipy import stats  # imported here, because the import takes half a second and few commands need it

    counts = [[bad, num_trial - bad], [bad_control, num_control - bad_control]]
    return float(stats.fisher_exact(counts, alternative="greater").pvalue)


def _is_significantly_slower(trial: _Answers, control_p95_ms: float) -> bool:
    """Whether the last answers to more than 5 % of the users take longer than control's 95th percentile (binomial)."""
    from scipy import stats

    num_longer = int((trial.took_ms_N[trial.last_U] > control_p95_ms).sum())
    return float(stats.binomtest(num_longer, trial.num_users, 0.05, alternative="greater").pvalue) < SIGNIFICANCE_LEVEL
