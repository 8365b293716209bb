"""The running experiment as people read it: each variant beside control, with intervals."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.exposure_files import ExposureRun

Z = 1.96
"""Of 95 % intervals."""


@dataclass(frozen=True)
class Variant:
    """What a variant has answered so far.

    Attributes:
        name: control, or the id of the release on trial.
        share: Its share of the users.
        num_answers: Its answers and failures.
        failed, degraded: Shares of them, with 95 % intervals (Wilson).
        p50_ms, p95_ms: Percentiles of the latency; None where there is no answer.
        distinct_items: Distinct items that it has shown.
    """

    name: str
    share: float
    num_answers: int
    failed: tuple[float, float, float]
    degraded: tuple[float, float, float]
    p50_ms: float | None
    p95_ms: float | None
    distinct_items: int


def running_variants(storage: Folder, experiment: Experiment) -> list[Variant]:
    """Returns the variants of an experiment by its exposures, control first."""
    exposures = ExposureRun.of(storage, experiment).read().table
    names = sorted(experiment.variants, key=lambda name: name != CONTROL)
    return [_variant(exposures.filter(pc.equal(exposures["variant"], n)), n, experiment.variants[n]) for n in names]


def _variant(exposures: pa.Table, name: str, share: float) -> Variant:
    took = exposures["took_ms"].to_numpy()
    p50, p95 = (float(p) for p in np.percentile(took, [50, 95])) if len(took) else (None, None)
    failed, degraded = (_share(exposures[column], len(took)) for column in ("failed", "degraded"))
    return Variant(
        name, share, len(took), failed, degraded, p50, p95, len(pc.unique(pc.list_flatten(exposures["item_ids"])))
    )


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
