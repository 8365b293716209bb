"""The upkeep of exposures: forgotten users go, and hours that are over become one file each."""

from collections.abc import Mapping
from datetime import UTC, datetime

from data.artifacts.folders import Folder
from data.sources.event_log import exposures
from data.sources.event_log.forgetting import FORGOTTEN, logged_user

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


def forget_exposures(storage: Folder, forgotten: Mapping[str, int]) -> None:
    """Removes exposures of users from before they were forgotten.

    Args:
        forgotten: By `user_key`, when they were forgotten, in microseconds since 1970.

    Raises:
        OSError: The storage does not answer.
    """
    if forgotten or exposures.exposures_folder(storage).exists(FORGOTTEN):
        with exposures.locked(storage) as lock:
            users = {logged_user(key): at for key, at in forgotten.items()}
            exposures.forget(storage, users, datetime.now(UTC), lock)
