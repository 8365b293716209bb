"""What a training is to the sweep that it is a trial of: whom it tells of its epochs, and what is reserved for it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.util.placement_group import PlacementGroup


class Pruned(Exception):
    """The sweep has seen enough of this trial."""


@dataclass(frozen=True)
class Trial:
    """One of a sweep's trainings.

    Attributes:
        sweep: its name; W&B groups runs by it.
        board: the actor that trials report to (towers/sweeps/board.py).
    """

    number: int
    sweep: str
    board: ActorHandle

    def goes_on(self, epoch: int, values: Mapping[str, float]) -> bool:
        """Tells of an epoch's values; False where that was the last one."""
        return bool(ray.get(self.board.report.remote(self.number, epoch, dict(values))))


_current: list[Trial] = []


@contextmanager
def being(trial: Trial) -> Iterator[None]:
    """What this process does until the block ends is done for a trial."""
    _current.append(trial)
    try:
        yield
    finally:
        _current.remove(trial)


def current() -> Trial | None:
    """The trial that this process works for."""
    return _current[-1] if _current else None


def current_sweep() -> str | None:
    """The name of the sweep that this process works for."""
    trial = current()
    return None if trial is None else trial.sweep


def reserved(bundles: Sequence[Mapping[str, float]]) -> PlacementGroup | None:
    """The placement group that this process is in, where it begins with these bundles."""
    group = ray.util.get_current_placement_group()
    if group is None or current() is None:
        return None
    return group if group.bundle_specs[: len(bundles)] == [dict(bundle) for bundle in bundles] else None


class _Kept(DefaultPlacementGroupHandle):
    """A placement group that outlives the workers in it."""

    def shutdown(self) -> None:
        pass


class InReservation(WorkerGroupCallback):
    """Has Ray Train's workers in a placement group that is there, in place of one that Ray Train makes.

    (Ray Train 2.60 has no option for it. Runs in the controller's process, which has no other training.)
    """

    def __init__(self, group: PlacementGroup) -> None:
        self._group = group

    def before_worker_group_start(self, worker_group_context: object) -> None:
        handle = _Kept(self._group)
        WorkerGroup._create_placement_group = lambda *_: handle
