"""Removes forgotten users from hourly files, whose rows have a column `user` (`logged_user`) and one `time`.

Replicas write some seconds after they have answered, and much later where the storage did not take the rows. So rows
from before a user was forgotten may come at any time. All users who were forgotten are therefore noted in the folder of
the log, as `_forgotten.json`: rows of those of the last hour are looked for in all small files at each compaction, and
rows of all of them in the files of which an hour's file is made.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder, json_bytes
from data.artifacts.json_text import parsed
from data.artifacts.leases import Lock, held_to_the_end
from data.artifacts.records import arrow_compute as pc
from data.artifacts.records.ahead import ahead
from data.artifacts.records.hourly_files import ENDING, HourlyFiles
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import MICROS
from data.sources.event_log.removal import Removal
from data.sources.event_log.users import hashed, times_of

FORGOTTEN, WHO = "_forgotten.json", "the users who were forgotten"

CURE = (
    "restore it from a copy of the storage. Without one, remove it, and forget again the users who were forgotten"
    " lately: rows of theirs may have come since"
)

LATE = timedelta(hours=1)
"""How long after a user was forgotten rows from before are looked for in all small files. Later ones, which are those
that the storage did not take for so long, go when their hour is compacted."""


def logged_user(key: str) -> str:
    """The name of a user in logs of answers: a keyed hash of `user_key`, so that forgotten users can be found."""
    return hashed(key)


def note_forgotten(log: Folder, users: Mapping[str, int], lock: Lock, cure: str = CURE) -> dict[str, int]:
    """Notes who was forgotten; returns all who ever were.

    Args:
        users: by `logged_user`, when they were forgotten, in microseconds since 1970.
        lock: the lock of compaction, which this process holds.
        cure: what to do where the file is damaged, for the message.

    Raises:
        DamagedFile: it is not known who was forgotten before.
    """
    if not users and not log.exists(FORGOTTEN):
        return {}

    def noted(content: bytes) -> dict[str, int]:
        return parsed(content, f"{log}/{FORGOTTEN}", times_of, WHO, cure)

    def with_these(content: bytes | None) -> bytes:
        if content is not None and not users:
            return content
        return json_bytes({**({} if content is None else noted(content)), **users})

    return noted(update_file(log, FORGOTTEN, with_these, lock)[1])


def lately(forgotten: Mapping[str, int], now: datetime) -> dict[str, int]:
    """Those who were forgotten in the last hour."""
    since_us = int((now - LATE).timestamp() * MICROS)
    return {user: at for user, at in forgotten.items() if at >= since_us}


def without(forgotten: Mapping[str, int]) -> Callable[[pa.Table], pa.Table]:
    """Returns a function that removes from a table the rows from before their users were forgotten."""
    is_removed = Removal(forgotten, str)
    return lambda table: table.filter(pa.array(~_removed(table, is_removed))) if forgotten else table


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
        for of_hour in (compacted, small):  # a compacted file may be large: it is not in memory with others
            removed += remove_from(files.folder, of_hour, users, lock)
    return removed


def remove_from(folder: Folder, files: Iterable[str], users: Mapping[str, int], lock: Lock) -> int:
    """Replaces files by ones without the rows from before their users were forgotten; a damaged one stays as it is.

    Raises:
        OSError: the storage does not answer.
        LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
    """
    is_removed = Removal(users, str)
    removed = 0
    for num in ahead(partial(_remove_from, folder, is_removed=is_removed, lock=lock), files):
        lock.require()
        removed += num
    return removed


def _remove_from(folder: Folder, file: str, is_removed: Removal, lock: Lock) -> int:
    try:
        columns = folder.read_table(file, ["user", "time"])
    except (OSError, ValueError):  # whoever reads its rows names it
        folder.exists(file)  # raises OSError where the storage does not answer
        return 0
    if not (num := int(_removed(columns, is_removed).sum())):
        return 0
    kept = (table.filter(pa.array(~_removed(table, is_removed))) for table in folder.read_groups(file))
    folder.write_tables(file, folder.read_schema(file), chain(kept, held_to_the_end(lock)))
    return num


def _removed(table: pa.Table, is_removed: Removal) -> np.ndarray:
    """bool [N]: which rows are from before their users were forgotten."""
    return is_removed(pc.fill_null(table["user"], ""), table["time"].cast(pa.int64()).to_numpy())
