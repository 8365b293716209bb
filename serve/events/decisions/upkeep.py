"""The upkeep of the decision log: hours become one file each; old dates and forgotten users go."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from data.artifacts.folders import Folder
from data.artifacts.leases import Step, WatchedLock, unwatched
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.hash_keys import all_names
from serve.events.decisions.config import DecisionsConfig

LOCK = ".compaction"


def keep_decisions(config: DecisionsConfig, storage: Folder, step: Step = unwatched) -> None:
    """Compacts the hours that are over, and deletes what is too old. Another upkeep at the same time waits.

    Args:
        step: Called for each file.

    Raises:
        OSError: The storage does not answer.
        LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
    """
    log, now = DecisionLog.of(storage), datetime.now(UTC)
    with log.folder.locked(LOCK) as held:
        lock = WatchedLock(held, step)
        log.forget({}, now, lock)
        log.compact(now, lock)
        lock.require()
        log.drop_before(now - timedelta(days=config.keep_days))


def forget_decisions(storage: Folder, forgotten: Mapping[str, int], step: Step = unwatched) -> None:
    """Removes decisions about users from before they were forgotten.

    Args:
        forgotten: By `user_key`, when they were forgotten, in microseconds since 1970.
        step: Called for each file.

    Raises:
        OSError: The storage does not answer.
        LeaseLost: On an object store, this process was stopped in the middle, and another one went on.
    """
    log = DecisionLog.of(storage)
    with log.folder.locked(LOCK) as held:
        log.forget(all_names(log.folder, forgotten), datetime.now(UTC), WatchedLock(held, step))
