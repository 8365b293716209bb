"""The scale of a numeric feature: how its values are standardised for the towers.

Shape legend: N values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_DEVIATIONS = 10.0
"""Standardised values are clipped to this many standard deviations on either side."""

FENCE = 100.0
"""Values further from the median than this many interquartile ranges do not count for the mean and the deviation.

This leaves out typing errors and placeholders such as 1e300 alone: a million values that are distributed normally lie
within 4 interquartile ranges of their median, and a million log-normal ones (sigma = 1) within 80.
"""

ROUNDING = 1e-9
"""Deviations below this share of the mean are taken for errors of rounding: the feature is constant."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A numeric feature's mean and standard deviation, without extreme values.

    Attributes:
        limit: standardised values are clipped to [-limit, limit]; 0 where the values that it was fitted to are all the
            same, so that the towers have learned nothing of other ones. Infinite in checkpoints of earlier versions,
            whose towers were fitted to values that were not clipped.
        is_log: whether the values are taken as sign(x) log(1 + |x|) first.
    """

    mean: float
    std: float
    limit: float = MOST_DEVIATIONS
    is_log: bool = False

    @classmethod
    def of(cls, values_N: np.ndarray, is_log: bool = False) -> "Scale":
        """The scale of a column.

        A column without values, a constant one, and one whose values differ by rounding alone get the deviation
        1 and the limit 0.

        Args:
            values_N: float64; NaN and infinite values are missing.
            is_log: whether to take their logarithms.
        """
        finite = values_N[np.isfinite(values_N)]
        if not len(finite):
            return cls(0.0, 1.0, 0.0, is_log)
        finite = _signed_log(finite) if is_log else finite
        kept = finite[_within_fences(finite)]
        exponent = int(np.frexp(np.abs(kept).max())[1])
        scaled = np.ldexp(kept, -exponent)  # exact, and squares neither overflow nor vanish
        mean, std = (float(np.ldexp(moment, exponent)) for moment in (scaled.mean(), scaled.std()))
        return cls(mean, std, is_log=is_log) if std > ROUNDING * abs(mean) else cls(mean, 1.0, 0.0, is_log)

    def standardised(self, values_N: np.ndarray) -> np.ndarray:
        """float32 [N]: how many standard deviations each value is above the mean, clipped; 0 where it is missing."""
        with np.errstate(over="ignore", invalid="ignore"):
            values_N = _signed_log(values_N) if self.is_log else values_N
            scaled_N = np.clip((values_N - self.mean) / self.std, -self.limit, self.limit)
        return np.where(np.isfinite(values_N), scaled_N, 0.0).astype(np.float32)

    def as_json(self) -> list[float | None | str]:
        """Mean, standard deviation and limit (null if there is none), and "log", as a manifest holds them."""
        return [self.mean, self.std, self.limit if np.isfinite(self.limit) else None, *(["log"] if self.is_log else [])]

    @classmethod
    def of_json(cls, values: list[Any]) -> "Scale":
        """The inverse of `as_json`; earlier versions had no limit."""
        mean, std, *limit = values
        is_log = limit[1:] == ["log"]
        return cls(mean, std, np.inf if limit[:1] in ([], [None]) else limit[0], is_log)


def _signed_log(values: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return logs


def _within_fences(finite_N: np.ndarray) -> np.ndarray:
    """bool [N]: the values within FENCE interquartile ranges of the median.

    Where at least half of the values are equal, the quartiles say nothing about the others. In place of the range, the
    median distance of these others counts.
    """
    median, low, high = _quartiles(finite_N)
    with np.errstate(over="ignore"):
        spread = high - low
        if low == high and len(others := finite_N[finite_N != median]):
            spread = np.quantile(np.abs(others - median), 0.5, method="lower")
        reach = FENCE * spread
        return (finite_N >= median - reach) & (finite_N <= median + reach)


def _quartiles(values_N: np.ndarray) -> tuple[float, float, float]:
    """Median, lower quartile and upper quartile; each is one of the values, so that no sum of two can overflow."""
    median, low = np.quantile(values_N, [0.5, 0.25], method="lower").tolist()
    return median, low, float(np.quantile(values_N, 0.75, method="higher"))
