"""The upkeep of exposures: forgotten users go, and hours that are over become one file each."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from data.artifacts.folders import Folder
from data.artifacts.leases import Step, WatchedLock, unwatched
from data.artifacts.records.hourly_files import GRACE, hour_name
from data.sources.event_log import exposures
from data.sources.event_log.forgetting import FORGOTTEN
from data.sources.event_log.hash_keys import all_names

COMPACT_S = 10.0
"""Seconds after which a compaction of exposures begins no further run: whoever calls it has other things to do too."""


def compact_exposures(storage: Folder) -> bool:
    """Makes one file of each hour that is over, of all runs, without what has come late of forgotten users.

    Returns:
        Whether all runs are done. If not, because many were left behind, the next call goes on.

    Raises:
        OSError: The storage does not answer.
        LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
    """
    if not exposures.exposures_folder(storage).subfolders():
        return True
    with exposures.locked(storage) as lock:
        return exposures.compact(storage, datetime.now(UTC), lock, COMPACT_S)


def hour_to_compact() -> str:
    """The hour in whose course exposures are compacted: it begins when hardly a process writes to the one before."""
    return hour_name(datetime.now(UTC) - GRACE)


def compact_once_an_hour(storage: Folder, done_in: str) -> str:
    """Compacts exposures, of which there may be many runs, unless that was done in this hour.

    Args:
        done_in: what the call before has returned; empty before the first.

    Returns:
        `hour_to_compact` if all runs are done, or empty, so that the next call goes on. It raises what
        `compact_exposures` raises.
    """
    hour = hour_to_compact()
    return hour if done_in == hour or compact_exposures(storage) else ""


def drop_exposures(storage: Folder, days: float) -> int:
    """Deletes the exposures of runs in which none was recorded for so many days; returns how many runs these are.

    Raises:
        OSError: The storage does not answer.
        LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
    """
    if not exposures.exposures_folder(storage).subfolders():
        return 0
    with exposures.locked(storage) as lock:
        return exposures.drop_before(storage, datetime.now(UTC) - timedelta(days=days), lock)


def forget_exposures(storage: Folder, forgotten: Mapping[str, int], step: Step = unwatched) -> None:
    """Removes exposures of users from before they were forgotten.

    Args:
        forgotten: By `user_key`, when they were forgotten, in microseconds since 1970.
        step: Called for each file.

    Raises:
        OSError: The storage does not answer.
    """
    if forgotten or exposures.exposures_folder(storage).exists(FORGOTTEN):
        with exposures.locked(storage) as held:
            users = all_names(exposures.exposures_folder(storage), forgotten)
            exposures.forget(storage, users, datetime.now(UTC), WatchedLock(held, step))
