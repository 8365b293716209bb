"""The upkeep of exposures: forgotten users go. The guard compacts the files of the experiment that runs."""

from collections.abc import Mapping
from datetime import UTC, datetime

from data.artifacts.folders import Folder
from data.sources.event_log import exposures
from data.sources.event_log.forgetting import FORGOTTEN, logged_user


def keep_exposures(storage: Folder) -> None:
    """Removes exposures of users who were forgotten lately, which replicas have written since.

    Raises:
        OSError: The storage does not answer.
    """
    forget_exposures(storage, {})


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
