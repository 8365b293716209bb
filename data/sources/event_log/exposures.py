"""Exposures in all runs of all experiments: their schema, compaction, and the removal of forgotten users.

`serve.experiments.exposure_files` says how the files of an experiment lie.
"""

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime

import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.leases import Lock
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


def compact(storage: Folder, now: datetime, lock: Lock, within_s: float = math.inf) -> bool:
    """Makes one file of each hour that is over, of all runs, those of experiments that are over included.

    Exposures of users from before they were forgotten are left out, however late they have come.

    Args:
        lock: what `locked` gives, which this process holds.
        within_s: seconds after which no further run is begun.

    Returns:
        Whether all runs are done; if not, the next call goes on.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    folder = exposures_folder(storage)
    kept, ends = without(note_forgotten(folder, {}, lock)), time.monotonic() + within_s
    for experiment in folder.subfolders():
        for run in experiment.subfolders():
            if time.monotonic() > ends:
                return False
            exposure_files(run).compact(now, lock, kept)
    return True


def drop_before(storage: Folder, moment: datetime, lock: Lock) -> int:
    """Deletes the exposures of all runs in which none was recorded since a moment; returns how many runs these are.

    What a run was, its shares and its beginning, stays. Files of earlier versions stay too, which belong to no run.

    Args:
        lock: what `locked` gives, which this process holds.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    runs = [exposure_files(run) for each in exposures_folder(storage).subfolders() for run in each.subfolders()]
    over = [run for run in runs if (hours := run.hours()) and hours[-1] < hour_name(moment)]
    for run in over:
        for hour in run.hours():
            lock.require()
            run.drop(hour)
    return len(over)


def forget(storage: Folder, users: Mapping[str, int], now: datetime, lock: Lock) -> int:
    """Removes the exposures of users from before they were forgotten; returns how many.

    Those that replicas write later are removed by the next calls and, after an hour, by `compact`.

    Args:
        users: by `logged_user`, when they were forgotten, in microseconds since 1970.
        lock: what `locked` gives, which this process holds.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    folder = exposures_folder(storage)
    recent, removed = lately(note_forgotten(folder, users, lock), now), 0
    if not recent and not users:
        return 0
    for experiment in folder.subfolders():
        if users:  # what lies directly in the folder is of earlier versions
            names = [name for name in experiment.names() if name.endswith(ENDING)]
            removed += remove_from(experiment, names, users, lock)
        for run in map(exposure_files, experiment.subfolders()):
            removed += remove_users(run, {**recent, **users}, run.hours() if users else run.open_hours(), lock)
    return removed
