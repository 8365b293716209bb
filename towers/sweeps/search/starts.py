"""The points that a search begins with: those of `hydra.sweeper.starts` that lie in its space."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from towers.sweeps.search.space import SearchSpace

START_ATTRIBUTE = "start"
"""User attribute of an Optuna trial that is a point of `hydra.sweeper.starts`."""


def queue_starts(study: optuna.Study, starts: Sequence[Mapping[str, Any]], space: SearchSpace) -> None:
    """Queues the points that are known, all or none; those that the command line has excluded are left out, and named.

    Raises:
        ConfigError: a point has a parameter that is neither searched nor given.
    """
    why = [space.excludes(start) for start in starts]
    points = [space.point(start) for start, reason in zip(starts, why, strict=True) if reason is None]
    for point in points:
        study.enqueue_trial(point, {START_ATTRIBUTE: True})
    if reasons := dict.fromkeys(reason for reason in why if reason is not None):
        print(f"search: {len(starts) - len(points)} of {len(starts)} known points are left out: {', '.join(reasons)}")
