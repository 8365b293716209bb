"""The running experiment as people read it: each variant beside control, with intervals."""

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.exposure_files import ExposureRun

MAX_TIMES = 1_000_000
"""Of more answers of a variant, every second one gives its latency, then every fourth, and so on."""

READ_AGAIN = 2
"""The latest hours of a run, to which replicas may still write; earlier hours are read once."""

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


@dataclass(frozen=True, slots=True)
class Answered:
    """What is kept of the answers of a variant, however many they are.

    Attributes:
        num_answers, num_failed, num_degraded: How many there are.
        took_ms: The latency of every `step`-th of them, float32.
        items: The distinct items that they have shown.
    """

    num_answers: int = 0
    num_failed: int = 0
    num_degraded: int = 0
    took_ms: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    step: int = 1
    items: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))

    def with_rows(self, rows: pa.Table) -> "Answered":
        """The same with further exposures."""
        taken, step = rows["took_ms"].to_numpy()[-self.num_answers % self.step :: self.step], self.step
        took_ms = np.concatenate([self.took_ms, taken])
        while len(took_ms) > MAX_TIMES:
            took_ms, step = took_ms[::2], 2 * step
        shown = pc.unique(pc.list_flatten(rows["item_ids"]))
        return Answered(
            self.num_answers + len(rows),
            self.num_failed + (pc.sum(rows["failed"]).as_py() or 0),
            self.num_degraded + (pc.sum(rows["degraded"]).as_py() or 0),
            took_ms,
            step,
            pc.unique(pa.chunked_array([self.items, shown])),
        )

    def variant(self, name: str, share: float) -> Variant:
        """What people read of it."""
        took_ms = np.sort(self.took_ms)
        return Variant(
            name=name,
            share=share,
            num_answers=self.num_answers,
            failed=share_interval(self.num_failed, self.num_answers),
            degraded=share_interval(self.num_degraded, self.num_answers),
            p50_ms=percentile_interval(took_ms, 0.5),
            p95_ms=percentile_interval(took_ms, 0.95),
            distinct_items=len(self.items),
        )


ByVariant = Mapping[str, Answered]


class RunningVariants:
    """Reads the variants of the running experiment again and again; an hour that is over is read once.

    Args:
        storage: The storage root.
    """

    def __init__(self, storage: Folder) -> None:
        self._storage, self._lock = storage, threading.Lock()
        self._key = ""
        self._answered: ByVariant = {}
        self._files_read: frozenset[str] = frozenset()

    def read(self, experiment: Experiment) -> list[Variant]:
        """The variants of an experiment by its exposures until now, control first; raises OSError as the storage does.

        Any thread may call it; all of them share what was read.
        """
        with self._lock:
            self._read_new(experiment)
            answered = self._answered
        shares = experiment.variants
        names = sorted(shares, key=lambda name: name != CONTROL)
        control, *others = (answered.get(name, Answered()).variant(name, shares[name]) for name in names)
        return [control, *(_beside(variant, control) for variant in others)]

    def _read_new(self, experiment: Experiment) -> None:
        run = ExposureRun.of(self._storage, experiment).rows
        hours = run.hours()
        if is_first := self._key != experiment.key:
            self._key, self._answered, self._files_read = "", {}, frozenset()  # the key: when all hours are read
        for hour in hours if is_first else hours[-READ_AGAIN:]:
            read = run.fold_hour(hour, self._answered, _with_groups, self._files_read)
            self._answered, self._files_read = read.value, self._files_read.union(read.files, [run.compacted(hour)])
        self._files_read = frozenset(f for f in self._files_read if f.startswith(tuple(hours[-READ_AGAIN:])))
        self._key = experiment.key


def _with_groups(answered: ByVariant, groups: Iterable[pa.Table]) -> ByVariant:
    after = dict(answered)
    for rows in groups:
        for name in pc.unique(rows["variant"]).to_pylist():
            of_variant = rows.filter(pc.equal(rows["variant"], name))
            after[name] = after.get(name, Answered()).with_rows(of_variant)
    return after


def _beside(variant: Variant, control: Variant) -> Variant:
    failed, degraded = difference(variant.failed, control.failed), difference(variant.degraded, control.degraded)
    return replace(variant, failed_rise=failed, degraded_rise=degraded)


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
