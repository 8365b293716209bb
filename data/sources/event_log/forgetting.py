"""Removes forgotten users from hourly files, whose rows have a column `user` (`logged_user`) and one `time`.

Replicas write some seconds after they have answered, so rows from before a user was forgotten may come later. The users
who were forgotten lately are therefore noted in the folder of the log, as `_forgotten.json`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder, json_bytes
from data.artifacts.json_text import mapping, parsed
from data.artifacts.leases import Lock, held_to_the_end
from data.artifacts.records import arrow_compute as pc
from data.artifacts.records.hourly_files import ENDING, HourlyFiles
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import MICROS
from data.sources.event_log.removal import Removal
from data.sources.event_log.users import hashed

FORGOTTEN = "_forgotten.json"

CURE = "remove it, and forget again the users who were forgotten in the last hour: rows of theirs may have come since"

LATE = timedelta(hours=1)
"""How long after a user was forgotten replicas may still write rows from before."""


def logged_user(key: str) -> str:
    """The name of a user in logs of answers: a keyed hash of `user_key`, so that forgotten users can be found."""
    return hashed(key)


def note_forgotten(log: Folder, users: Mapping[str, int], now: datetime, lock: Lock) -> dict[str, int]:
    """Notes who was forgotten; returns those of whom rows may still come, the ones noted before included.

    Args:
        users: by `logged_user`, when they were forgotten, in microseconds since 1970.
        lock: the lock of compaction, which this process holds.

    Raises:
        DamagedFile: it is not known who was forgotten before.
    """
    if not users and not log.exists(FORGOTTEN):
        return {}
    since_us = int((now - LATE).timestamp() * MICROS)

    def noted(content: bytes) -> dict[str, int]:
        return parsed(content, f"{log}/{FORGOTTEN}", _times, "the users who were forgotten lately", CURE)

    def still_recent(content: bytes | None) -> bytes:
        before = {} if content is None else noted(content)
        return json_bytes({user: at for user, at in {**before, **users}.items() if at >= since_us})

    return noted(update_file(log, FORGOTTEN, still_recent, lock)[1])


def _times(value: Any) -> dict[str, int]:
    return {user: int(at) for user, at in mapping(value).items()}


def remove_users(files: HourlyFiles, users: Mapping[str, int], hours: Iterable[str], lock: Lock) -> int:
    """Removes the rows of some hours from before their users were forgotten; returns how many.

    Args:
        lock: the lock of compaction, which this process holds.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    removed = 0
    for hour in hours:
        compacted = [files.compacted(hour)] if files.folder.exists(files.compacted(hour)) else []
        part = files.part(hour)
        small = [f"{part}/{name}" for name in (files.folder / part).names() if name.endswith(ENDING)]
        removed += remove_from(files.folder, [*compacted, *small], users, lock)
    return removed


def remove_from(folder: Folder, files: Iterable[str], users: Mapping[str, int], lock: Lock) -> int:
    """Replaces files by ones without the rows from before their users were forgotten; a damaged one stays as it is.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    is_removed = Removal(users, str)
    return sum(_remove_from(folder, file, is_removed, lock) for file in files)


def _remove_from(folder: Folder, file: str, is_removed: Removal, lock: Lock) -> int:
    def removed_N(table: pa.Table) -> np.ndarray:
        return is_removed(pc.fill_null(table["user"], ""), table["time"].cast(pa.int64()).to_numpy())

    try:
        columns = folder.read_table(file, ["user", "time"])
    except (OSError, ValueError):  # whoever reads its rows names it
        folder.exists(file)  # raises OSError where the storage does not answer
        return 0
    if not (num := int(removed_N(columns).sum())):
        return 0
    kept = (table.filter(pa.array(~removed_N(table))) for table in folder.read_groups(file))
    folder.write_tables(file, folder.read_schema(file), chain(kept, held_to_the_end(lock)))
    return num
