"""Exposures in all runs of all experiments: their schema, compaction, and the removal of forgotten users.

`serve.experiments.exposure_files` says how the files of an experiment lie.
"""

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.leases import Lock
from data.artifacts.records.ahead import ahead
from data.artifacts.records.hourly_files import ENDING, HourlyFiles, hour_name
from data.sources.event_log.forgetting import lately, note_forgotten, remove_from, remove_users, without

SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("user", pa.string()),  # `logged_user`; null for a request without a user
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("release_id", pa.string(), nullable=False),
        pa.field("degraded", pa.bool_(), nullable=False),
        pa.field("failed", pa.bool_(), nullable=False),  # the request raised an error and has no answer
        pa.field("took_ms", pa.float32(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
    ]
)

LOCK = ".compaction"


def exposures_folder(storage: Folder) -> Folder:
    """The folder of all experiments, whether it exists or not."""
    return storage / "exposures"


def exposure_files(folder: Folder) -> HourlyFiles:
    """The files of exposures in a folder."""
    return HourlyFiles(folder, SCHEMA, "exposures")


def locked(storage: Folder) -> AbstractContextManager[Lock]:
    """Returns the lock under which files of exposures are compacted, or forgotten users are removed from them."""
    return exposures_folder(storage).locked(LOCK)


@dataclass(slots=True)
class Position:
    """Where a compaction of all runs has got to.

    Attributes:
        after: experiment and run of the last run that was begun; empty before the first.
    """

    after: tuple[str, ...] = ()


def compact(
    storage: Folder, now: datetime, lock: Lock, within_s: float = math.inf, position: Position | None = None
) -> bool:
    """Makes one file of each hour that is over, of all runs, those of experiments that are over included.

    Exposures of users from before they were forgotten are left out, however late they have come.

    Args:
        lock: what `locked` gives, which this process holds; it is required for each run, and for each file.
        within_s: seconds after which no further run is begun; the first one is in any case.
        position: where to begin. It moves on with each run, also with one that raises an error, and is at the beginning
            again when all runs are done; the next call, given the same, goes on there.

    Returns:
        Whether all runs are done.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    at = Position() if position is None else position
    kept = without(note_forgotten(exposures_folder(storage), {}, lock))
    begun_at, runs = at.after, _runs(storage, at.after)
    ends = time.monotonic() + within_s
    for run, hours in zip(runs, ahead(HourlyFiles.open_hours, runs), strict=True):
        if at.after != begun_at and time.monotonic() > ends:
            return False
        at.after = _place(run)
        lock.require()
        if hours:  # most runs are over and have none
            run.compact(now, lock, kept)
    at.after = ()
    return True


def drop_before(storage: Folder, moment: datetime, lock: Lock) -> int:
    """Deletes the exposures of all runs in which none was recorded since a moment; returns how many runs these are.

    What a run was, its shares and its beginning, stays. Files of earlier versions stay too, which belong to no run.

    Args:
        lock: what `locked` gives, which this process holds; it is required for each run.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    runs, num_over = _runs(storage), 0
    for run, hours in zip(runs, ahead(HourlyFiles.hours, runs), strict=True):
        lock.require()
        if not hours or hours[-1] >= hour_name(moment):
            continue
        num_over += 1
        for hour in hours:
            lock.require()
            run.drop(hour)
    return num_over


def forget(storage: Folder, users: Mapping[str, int], now: datetime, lock: Lock) -> int:
    """Removes the exposures of users from before they were forgotten; returns how many.

    Those that replicas write later are removed by the next calls and, after an hour, by `compact`.

    Args:
        users: by `logged_user`, when they were forgotten, in microseconds since 1970.
        lock: what `locked` gives, which this process holds; it is required for each run, and for each file.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    folder = exposures_folder(storage)
    recent, removed = lately(note_forgotten(folder, users, lock), now), 0
    if not recent and not users:
        return 0
    for experiment in folder.subfolders() if users else ():  # what lies directly in one is of earlier versions
        names = [name for name in experiment.names() if name.endswith(ENDING)]
        removed += remove_from(experiment, names, users, lock)
    runs = _runs(storage)
    for run, hours in zip(runs, ahead(HourlyFiles.hours if users else HourlyFiles.open_hours, runs), strict=True):
        lock.require()
        removed += remove_users(run, {**recent, **users}, hours, lock)
    return removed


def _runs(storage: Folder, after: tuple[str, ...] = ()) -> list[HourlyFiles]:
    """The files of all runs, or of those after one, in the order of experiments and runs."""
    experiments = [folder for folder in exposures_folder(storage).subfolders() if (folder.name,) >= after[:1]]
    runs = [exposure_files(run) for of_experiment in ahead(Folder.subfolders, experiments) for run in of_experiment]
    return [run for run in runs if _place(run) > after]


def _place(run: HourlyFiles) -> tuple[str, ...]:
    """The names of the experiment and the run."""
    return tuple(run.folder.path.split("/")[-2:])
