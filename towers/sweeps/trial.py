"""The trial of a sweep that this process works for, its reports of epochs, and the placement group reserved for it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import ray
from ray.actor import ActorHandle
from ray.util.placement_group import PlacementGroup


class Pruned(Exception):
    """The sweep has stopped this trial early, because others are better."""


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        number: the number of the trial within its sweep.
        sweep: the name of the sweep; W&B groups runs by it.
        reports: handle of the actor to which trials report (towers/sweeps/trial_reports.py).
        same_code: whether what other code has prepared or trained does not count as done (`hydra.launcher.same_code`).
    """

    number: int
    sweep: str
    reports: ActorHandle
    same_code: bool = False

    def report_epoch(self, epoch: int, values: Mapping[str, float]) -> bool:
        """Reports the values of a finished epoch. Returns False where the training should stop."""
        return bool(ray.get(self.reports.report_epoch.remote(self.number, epoch, dict(values))))

    def report_alive(self) -> None:
        """Reports that the trial does not hang, although it has no values of an epoch to report: it waits, prepares
        its log, is measured, or ends an epoch whose values do not count.
        """
        self.reports.report_alive.remote(self.number)

    def first_dataset(self, key: str, name: str | None = None) -> str | None:
        """See `TrialReports.first_dataset`."""
        found: str | None = ray.get(self.reports.first_dataset.remote(key, name))
        return found


_current: list[Trial] = []
_in_epochs = Event()

EVERY_S = 1.0
"""Seconds between two reports of a trial that it lives."""


@contextmanager
def working_for(trial: Trial) -> Iterator[None]:
    """Makes `trial` the current trial of this process until the block ends."""
    _current.append(trial)
    try:
        yield
    finally:
        _current.remove(trial)


def current_trial() -> Trial | None:
    """The trial that this process works for; None outside of a sweep."""
    return _current[-1] if _current else None


@contextmanager
def living() -> Iterator[None]:
    """Reports again and again, until the block ends, that the current trial lives, but for the time `in_epochs`."""
    ended, trial = Event(), current_trial()

    def tell() -> None:
        while trial is not None and not ended.wait(EVERY_S):
            if not _in_epochs.is_set():
                trial.report_alive()

    telling = Thread(target=tell, name="reports that the trial lives", daemon=True)
    telling.start()
    try:
        yield
    finally:
        ended.set()
        telling.join()


@contextmanager
def in_epochs() -> Iterator[None]:
    """As long as the block runs, the reports of its epochs alone show that the current trial does not hang."""
    _in_epochs.set()
    try:
        yield
    finally:
        _in_epochs.clear()


def wants_same_code() -> bool:
    """Whether this process works for a trial in which what other code has prepared or trained is made again."""
    trial = current_trial()
    return trial is not None and trial.same_code


def current_sweep() -> str | None:
    """The name of the sweep that this process works for; None outside of a sweep."""
    trial = current_trial()
    return None if trial is None else trial.sweep


def reserved_placement_group(bundles: Sequence[Mapping[str, float]]) -> PlacementGroup | None:
    """The placement group of the current trial, if its first bundles are these ones; None otherwise."""
    group = ray.util.get_current_placement_group()
    if group is None or current_trial() is None:
        return None
    return group if group.bundle_specs[: len(bundles)] == [dict(bundle) for bundle in bundles] else None
