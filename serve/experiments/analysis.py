"""Experiment analysis: exposures joined with outcomes, and each variant's effect beside control.

The unit of analysis is the user, who is always in the same variant; a request without a user is a unit of its own. For
each variant the analysis gives the mean outcome per unit and its lift over control. Three things guard against
wrong conclusions:

- The sample-ratio check: do the variants have the numbers of users that their shares promise? Where they do not,
  something is wrong with the assignment or the recording, and no other number can be trusted. It is a chi-square test
  or, where a share promises too few users for one, an exact binomial test of each variant, corrected for their number.
- A confidence interval for an analysis at one time that was fixed beforehand: Welch's, where both have as many users.
- A confidence sequence (Waudby-Smith et al. 2021, "Time-uniform central limit theory", theorem 2.2), which holds
  however often one looks: as soon as it excludes 0, the experiment may be stopped.

Shape legend: U units, V variants.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serve.experiments.assignment import CONTROL
from serve.experiments.matching import OutcomeCounts, match, requests_of, units_in_several, value_per_unit

LEVEL = 0.95
"""Confidence level of both intervals."""

MIN_SAMPLE_RATIO_P = 0.001
"""Significance level of the sample-ratio check: with a smaller p-value, numbers of users and shares disagree."""

MIN_USERS = 100
"""Users of a variant, and of control, below which neither interval is given: both rest on the normal approximation."""

ROUNDING = 1e-12
"""Outcomes of users that differ by less than this share of the largest are equal: adding them up rounds."""

MIN_EXPECTED = 5
"""Users of each variant that the shares must promise for the chi-square test, by the usual rule (Cochran 1954)."""

EXPECTED_USERS = 10_000
"""Number of users at which the confidence sequence is narrowest."""


@dataclass(frozen=True, slots=True)
class VariantResult:
    """A variant compared with control.

    For control itself lift and intervals are None. So are they where one of both has no users. Intervals are None also
    if either has fewer than MIN_USERS users, if no outcome differs from another, if the outcomes are too large for
    their deviation to be a finite number, or if the variant has no share.

    Attributes:
        variant: `CONTROL` or a release id.
        num_users: users, and requests without a user, that were exposed to it.
        mean: mean outcome per user; None where there are no users.
        lift: mean minus control's mean.
        relative_lift: the lift divided by control's mean; None where that is no finite number, as where the mean is 0.
        interval: 95 % confidence interval of the lift, valid for an analysis at one time fixed beforehand.
        anytime_interval: 95 % confidence sequence of the lift, valid whenever and however often one looks.
    """

    variant: str
    num_users: int
    mean: float | None
    lift: float | None = None
    relative_lift: float | None = None
    interval: list[float] | None = None
    anytime_interval: list[float] | None = None

    @property
    def may_stop(self) -> bool:
        """Whether the confidence sequence excludes 0, so that the experiment may be stopped now."""
        bounds = self.anytime_interval
        return bounds is not None and (bounds[0] > 0 or bounds[1] < 0)

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values, for summary.json."""
        return {
            "variant": self.variant,
            "users": self.num_users,
            "mean": self.mean,
            "lift": self.lift,
            "relative": self.relative_lift,
            "interval": self.interval,
            "anytime": self.anytime_interval,
        }


@dataclass(frozen=True, slots=True)
class ExperimentAnalysis:
    """The result of an experiment so far.

    Attributes:
        experiment: name of the experiment.
        results: one for each variant, control first.
        sample_ratio_p: p-value of the sample-ratio check.
        users_in_several_variants: number of users who were exposed to more than one variant, and are left out. That
            happens where shares were changed under the same name.
        outcomes: what became of the rows of outcomes.
        without_share: variants that got exposures although they have no share; they are among the results.
    """

    experiment: str
    results: list[VariantResult]
    sample_ratio_p: float
    users_in_several_variants: int
    outcomes: OutcomeCounts
    without_share: list[str] = field(default_factory=list)

    @property
    def sample_ratio_holds(self) -> bool:
        """Whether the numbers of users agree with the shares."""
        return self.sample_ratio_p >= MIN_SAMPLE_RATIO_P and not self.without_share

    def as_json(self) -> dict[str, Any]:
        """The analysis as JSON values, for summary.json."""
        return {
            "experiment": self.experiment,
            "lifts": [result.as_json() for result in self.results],
            "ratio_p": self.sample_ratio_p,
            "moved": self.users_in_several_variants,
            "outcomes": self.outcomes.rows,
            "outcomes_met": self.outcomes.matched,
            "outcomes_moved": self.outcomes.moved,
            "outcomes_unmatched": self.outcomes.unmatched,
            "outcomes_ambiguous": self.outcomes.ambiguous,
            "without_share": self.without_share,
        }


def analyse(name: str, exposures: pa.Table, outcomes: pa.Table, shares: dict[str, float]) -> ExperimentAnalysis:
    """Joins exposures with outcomes and compares the variants.

    Args:
        name: of the experiment.
        exposures: the exposures of one run of it, with the schema `serve.experiments.exposure_files.SCHEMA`, or what
            is needed of them (`serve.experiments.matching.NeededExposures`).
        outcomes: columns `request_id` and `value`; several outcomes of a request are added up.
        shares: share of the users by variant, control included.
    """
    exposures = requests_of(exposures)
    in_several = units_in_several(exposures)
    outcomes, counts = match(exposures, outcomes, in_several)
    units = value_per_unit(exposures, outcomes)
    units = units.filter(pc.invert(pc.is_in(units["unit"], in_several)))
    without_share = sorted(set(pc.unique(exposures["variant"]).to_pylist()) - shares.keys())
    by_variant = {
        variant: units.filter(pc.equal(units["variant"], variant))["value_sum"].to_numpy()
        for variant in (*shares, *without_share)
    }
    control_U = by_variant[CONTROL]
    results = [
        VariantResult(CONTROL, len(control_U), _mean(control_U)),
        *(_compare(variant, by_variant[variant], control_U) for variant in shares if variant != CONTROL),
    ]
    sample_ratio_p = _sample_ratio_p([result.num_users for result in results], shares)
    results += [VariantResult(v, len(by_variant[v]), _mean(by_variant[v])) for v in without_share]
    return ExperimentAnalysis(name, results, sample_ratio_p, len(in_several), counts, without_share)


def _compare(variant: str, value_U: np.ndarray, control_U: np.ndarray) -> VariantResult:
    """A variant's outcome per unit beside control's, float64 [U] each (their lengths differ)."""
    from scipy import stats  # its import takes half a second

    mean, control_mean = _mean(value_U), _mean(control_U)
    if mean is None or control_mean is None:
        return VariantResult(variant, len(value_U), mean)
    lift = mean - control_mean
    relative_lift = lift / control_mean if control_mean and math.isfinite(lift / control_mean) else None
    without_intervals = VariantResult(variant, len(value_U), mean, lift, relative_lift)
    if min(len(value_U), len(control_U)) < MIN_USERS:
        return without_intervals
    error = _standard_error(value_U, control_U)
    if error == 0 or not math.isfinite(error) or not (_differ(value_U) or _differ(control_U)):
        return without_intervals
    fixed_radius = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    anytime_radius = error * boundary(len(value_U) + len(control_U))
    intervals = [[lift - radius, lift + radius] for radius in (fixed_radius, anytime_radius)]
    return VariantResult(variant, len(value_U), mean, lift, relative_lift, *intervals)


def _standard_error(value_U: np.ndarray, control_U: np.ndarray) -> float:
    """The standard error of the lift; not finite where the outcomes are too large.

    It is Welch's, except that the variance of whichever has fewer users counts as at least that of the other. Of rare
    outcomes, such as purchases, a few hundred users may have none, or one that is small. Their own variance would be
    too small together with their mean, and the intervals would exclude 0 where nothing differs.
    """
    smaller_U, larger_U = sorted((value_U, control_U), key=len)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not finite
        variance, of_larger = smaller_U.var(ddof=1), larger_U.var(ddof=1)
        if len(smaller_U) < len(larger_U):
            variance = max(variance, of_larger)
        return math.sqrt(variance / len(smaller_U) + of_larger / len(larger_U))


def boundary(num_users: int, level: float = LEVEL, tightest: int = EXPECTED_USERS) -> float:
    """The radius of the confidence sequence in standard errors: the mixture boundary of the paper.

    sqrt((n r + 1) / (n r) * log((n r + 1) / a^2)) with r = rho^2, chosen to be narrowest near `tightest` users (their
    eq. 10: rho^2 = (-2 log a + log(-2 log a + 1)) / n).
    """
    alpha = 1 - level
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tightest
    scaled = num_users * rho2
    return math.sqrt((scaled + 1) / scaled * math.log((scaled + 1) / alpha**2))


def _sample_ratio_p(num_users: list[int], shares: dict[str, float]) -> float:
    """The p-value of the numbers of users, control first, under the shares; 1 where there are no users."""
    from scipy import stats

    total = sum(num_users)
    share_V = np.array([shares[CONTROL], *(share for name, share in shares.items() if name != CONTROL)])
    if total == 0:
        return 1.0
    if (share_V * total).min() >= MIN_EXPECTED:
        return float(stats.chisquare(num_users, share_V * total).pvalue)
    exact = [stats.binomtest(n, total, share).pvalue for n, share in zip(num_users[1:], share_V[1:], strict=True)]
    return min(float(min(exact)) * len(exact), 1.0)


def _differ(value_U: np.ndarray) -> bool:
    """Whether outcomes differ by more than adding them up rounds off."""
    lowest, highest = float(value_U.min()), float(value_U.max())
    return highest - lowest > ROUNDING * max(abs(lowest), abs(highest))


def _mean(value_U: np.ndarray) -> float | None:
    return float(value_U.mean()) if len(value_U) else None
