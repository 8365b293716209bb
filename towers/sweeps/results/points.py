"""Points of a leaderboard: trials that differ by seed alone, with the mean of a metric, its interval and a test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from towers.sweeps.records import Record, State, parameters
from towers.sweeps.search.space import SEED

COSTS = {"seconds": "training.seconds", "MiB": "cost.size_mib", "ms": "cost.user_vector_ms"}
"""Costs by their column in a leaderboard: dotted paths into what a training returns."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Trials that differ by seed alone.

    Attributes:
        given: values of the parameters that vary in the sweep, by name.
        trials: the records of its trials.
        values: the metric by seed, for the trials that finished with a finite one.
        interval: 95 % interval of the metric's mean over seeds, by Student's t; None for a single seed.
        is_complete: whether no other point has a value of more seeds.
        p: p-value of a paired t-test against the best point, over the seeds that both have, with Holm's correction for
            the number of tests in the leaderboard; None where they share fewer than two seeds.
        costs: mean costs over its finished trials by name; None where a cost is not known.
        best: the record of its best seed; None where no trial of it finished.
    """

    given: dict[str, str]
    trials: list[Record]
    values: dict[str, float]
    is_complete: bool
    interval: tuple[float, float] | None
    p: float | None
    costs: dict[str, float | None]
    best: Record | None

    @property
    def mean(self) -> float | None:
        """The mean of the metric over seeds; None where no trial finished."""
        return float(np.mean(list(self.values.values()))) if self.values else None

    @property
    def states(self) -> str:
        """How its trials ended, such as "2 finished, 1 failed", and how many finished without a finite metric."""
        found = [record.state for record in self.trials]
        counts = [f"{found.count(state)} {state.value}" for state in State if state in found]
        num_without = found.count(State.finished) - len(self.values)
        return ", ".join([*counts, f"{num_without} without a finite value"] if num_without else counts)


def ranked_points(records: Sequence[Record], metric: str, maximize: bool, names: Sequence[str]) -> list[Point]:
    """Groups trials by everything but their seed. Points come best first; those without a value come last.

    One with a value of fewer seeds than another, as where training diverged with the others, comes after all with more.

    Args:
        metric: a dotted path into what a trial returned.
        names: parameters that vary in the sweep.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        given = parameters(record.overrides)
        groups.setdefault(tuple(f"{k}={v}" for k, v in given.items() if k != SEED), []).append(record)
    trials = list(groups.values())
    values = [_values_by_seed(group, metric) for group in trials]
    num_seeds = max((len(of) for of in values), default=0)
    order = sorted(range(len(values)), key=lambda i: _sort_key(values[i], num_seeds, maximize))
    tests = holm([None if i == order[0] else paired_test(values[i], values[order[0]]) for i in order])
    return [
        _point(trials[i], values[i], len(values[i]) == num_seeds, p, names, maximize)
        for i, p in zip(order, tests, strict=True)
    ]


def paired_test(values: dict[str, float], best: dict[str, float]) -> float | None:
    """Two-sided p-value of a paired t-test over the common seeds; None where there are fewer than two."""
    both = sorted(values.keys() & best.keys())
    if len(both) < 2:
        return None
    differences = [values[seed] - best[seed] for seed in both]
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0).pvalue)


def holm(tests: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values for multiple testing by the step-down method of Holm (1979); None stays None."""
    known = sorted((p, at) for at, p in enumerate(tests) if p is not None)
    corrected, largest = list(tests), 0.0
    for number, (p, at) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - number)))
        corrected[at] = largest
    return corrected


def _seed(record: Record) -> str:
    return parameters(record.overrides).get(SEED, "")


def _values_by_seed(records: Sequence[Record], metric: str) -> dict[str, float]:
    found = {_seed(record): record.measured(metric) for record in records if record.state is State.finished}
    return {seed: value for seed, value in found.items() if value is not None}


def _sort_key(values: dict[str, float], num_seeds: int, maximize: bool) -> tuple[bool, bool, float]:
    mean = float(np.mean(list(values.values()))) if values else 0.0
    return not values, len(values) < num_seeds, -mean if maximize else mean


def _point(
    records: list[Record],
    values: dict[str, float],
    is_complete: bool,
    p: float | None,
    names: Sequence[str],
    maximize: bool,
) -> Point:
    given = parameters(records[0].overrides)
    finished = [record for record in records if _seed(record) in values]
    costs: dict[str, float | None] = {}
    for name, path in COSTS.items():
        found = [value for record in finished if (value := record.measured(path)) is not None]
        costs[name] = float(np.mean(found)) if found else None
    pick = max if maximize else min
    return Point(
        given={name: given[name] for name in names if name in given},
        trials=records,
        values=values,
        is_complete=is_complete,
        interval=_interval(list(values.values())),
        p=p,
        costs=costs,
        best=pick(finished, key=lambda record: values[_seed(record)]) if finished else None,
    )


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error) if error else (mean, mean)
    return float(low), float(high)
