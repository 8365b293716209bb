"""The running experiment as people read it: each variant beside control, with intervals."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.exposure_files import ExposureRun

Z = 1.96
"""Standard normal quantile for two-sided 95 % intervals."""

Interval = tuple[float | None, float | None, float | None]
"""An estimate, and the lower and upper bound of its 95 % interval; None where there is too little to say."""


@dataclass(frozen=True)
class Variant:
    """What a variant has answered so far.

    Attributes:
        name: control, or the id of the release on trial.
        share: Its share of the users.
        num_answers: Its answers and failures.
        failed, degraded: Shares of them, with 95 % intervals (Wilson).
        p50_ms, p95_ms: Percentiles of the latency, with 95 % intervals (of ranks, by the binomial distribution).
        distinct_items: Distinct items that it has shown.
        failed_rise, degraded_rise: The shares less those of control, with 95 % intervals; None of control.
    """

    name: str
    share: float
    num_answers: int
    failed: tuple[float, float, float]
    degraded: tuple[float, float, float]
    p50_ms: Interval
    p95_ms: Interval
    distinct_items: int
    failed_rise: tuple[float, float, float] | None = None
    degraded_rise: tuple[float, float, float] | None = None


def running_variants(storage: Folder, experiment: Experiment) -> list[Variant]:
    """Returns the variants of an experiment by its exposures, control first."""
    exposures = ExposureRun.of(storage, experiment).read().table
    names = sorted(experiment.variants, key=lambda name: name != CONTROL)
    control, *others = (
        _variant(exposures.filter(pc.equal(exposures["variant"], n)), n, experiment.variants[n]) for n in names
    )
    return [control, *(_beside(variant, control) for variant in others)]


def _variant(exposures: pa.Table, name: str, share: float) -> Variant:
    took = np.sort(exposures["took_ms"].to_numpy())
    failed, degraded = (_share(exposures[column], len(took)) for column in ("failed", "degraded"))
    return Variant(
        name=name,
        share=share,
        num_answers=len(took),
        failed=failed,
        degraded=degraded,
        p50_ms=percentile_interval(took, 0.5),
        p95_ms=percentile_interval(took, 0.95),
        distinct_items=len(pc.unique(pc.list_flatten(exposures["item_ids"]))),
    )


def _beside(variant: Variant, control: Variant) -> Variant:
    failed, degraded = difference(variant.failed, control.failed), difference(variant.degraded, control.degraded)
    return replace(variant, failed_rise=failed, degraded_rise=degraded)


def _share(flags: pa.ChunkedArray, count: int) -> tuple[float, float, float]:
    return share_interval(int(pc.sum(flags).as_py() or 0), count)


def share_interval(hits: int, count: int) -> tuple[float, float, float]:
    """Returns a share with its 95 % interval (Wilson 1927); 0 to 1 where nothing is counted."""
    if not count:
        return 0.0, 0.0, 1.0
    share = hits / count
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * np.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return share, max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def difference(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float, float]:
    """Returns the difference of two shares with its 95 % interval, from theirs (Newcombe 1998, method 10)."""
    (p, low, high), (q, q_low, q_high) = one, other
    return p - q, p - q - math.hypot(p - low, q_high - q), p - q + math.hypot(high - p, q - q_low)


def percentile_interval(sorted_N: np.ndarray, share: float) -> Interval:
    """Returns a percentile of sorted values with its 95 % interval; no bound where the values end before it.

    Between which ranks the percentile lies follows from the binomial distribution, whatever the values are (David and
    Nagaraja 2003, section 7.1), here by the normal approximation.
    """
    count = len(sorted_N)
    if not count:
        return None, None, None
    half = Z * math.sqrt(count * share * (1 - share))
    ranks = math.floor(count * share - half), math.ceil(count * share + half) + 1
    low, high = (float(sorted_N[rank - 1]) if 1 <= rank <= count else None for rank in ranks)
    return float(np.quantile(sorted_N, share)), low, high
