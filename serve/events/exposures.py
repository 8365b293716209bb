"""The upkeep of exposures: forgotten users go, and hours that are over become one file each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from data.artifacts.folders import Folder
from data.artifacts.leases import Step, WatchedLock, unwatched
from data.artifacts.records.hourly_files import GRACE, hour_name
from data.sources.event_log import exposures
from data.sources.event_log.forgetting import FORGOTTEN
from data.sources.event_log.hash_keys import all_names

COMPACT_S = 10.0
"""Seconds after which a compaction of exposures begins no further run: whoever calls it has other things to do too."""


def hour_to_compact() -> str:
    """The hour in whose course exposures are compacted: it begins when hardly a process writes to the one before."""
    return hour_name(datetime.now(UTC) - GRACE)


@dataclass(slots=True)
class ExposureCompaction:
    """Compacts the exposures of all runs once an hour, for whoever calls it again and again.

    There may be many runs: a call ends after COMPACT_S seconds, and the next one goes on with the run after.

    Attributes:
        storage: The storage root.
    """

    storage: Folder
    _position: exposures.Position = field(default_factory=exposures.Position)
    _begun_in: str = ""
    _done_in: str = ""

    def go_on(self, step: Step = unwatched) -> None:
        """Makes one file of each hour that is over, of the runs whose turn it is, without users who were forgotten.

        After an error, the next call goes on with the run after the one that cannot be compacted, which has its turn
        again in the next hour.

        Args:
            step: Called for each run, and for each file.

        Raises:
            OSError: The storage does not answer.
            LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
        """
        hour = hour_to_compact()
        if self._done_in == hour or not exposures.exposures_folder(self.storage).subfolders():
            return
        self._begun_in = self._begun_in or hour
        with exposures.locked(self.storage) as held:
            lock = WatchedLock(held, step)
            is_done = exposures.compact(self.storage, datetime.now(UTC), lock, COMPACT_S, self._position)
        if is_done:  # a round that took longer than its hour is followed by the next one at once
            self._done_in, self._begun_in = self._begun_in, ""

    def rest(self) -> None:
        """Has `go_on` do nothing until the next hour."""
        self._done_in = hour_to_compact()


def drop_exposures(storage: Folder, days: float, step: Step = unwatched) -> int:
    """Deletes the exposures of runs in which none was recorded for so many days; returns how many runs these are.

    Args:
        step: Called for each run.

    Raises:
        OSError: The storage does not answer.
        LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
    """
    if not exposures.exposures_folder(storage).subfolders():
        return 0
    with exposures.locked(storage) as held:
        return exposures.drop_before(storage, datetime.now(UTC) - timedelta(days=days), WatchedLock(held, step))


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
