"""Removes the events of forgotten users from the event log, damaged files excepted: from these when they are restored.

Shape legend: N events.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.folders import json_bytes
from data.artifacts.json_text import mapping, parsed
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records.json_files import left_out
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import DamagedEvents, EventLog
from data.sources.event_log.users import user_key

UNREAD = "_unread.json"

CURE = "remove it, and forget again the users who were forgotten while a file of the event log was damaged"


class Removal:
    """Decides which events of users are removed: those that were accepted until the users were forgotten.

    Args:
        forgotten: When users were forgotten, in microseconds since 1970, by key.
        key: Returns the key of a user id.
    """

    def __init__(self, forgotten: Mapping[str, int], key: Callable[[str], str]) -> None:
        self._forgotten, self._key = forgotten, key

    def __call__(self, user_ids_N: pa.ChunkedArray, received_N: np.ndarray) -> np.ndarray:
        """bool [N]: which events are removed; `received_N` is int64."""
        encoded = user_ids_N.combine_chunks().dictionary_encode()
        until_U = np.array([self._forgotten.get(self._key(id_), -1) for id_ in encoded.dictionary.to_pylist()])
        if not len(until_U):
            return np.zeros(len(received_N), dtype=bool)
        return received_N <= until_U[encoded.indices.to_numpy()]


@dataclass(frozen=True, slots=True)
class Unread:
    """The content of `_unread.json`.

    Attributes:
        files: The damaged files, by their paths in the folder of the log.
        users: By `user_key`, when the users who may be in them were forgotten, in microseconds since 1970.
    """

    files: list[str] = field(default_factory=list)
    users: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, log: EventLog) -> "Unread":
        """What is noted of a log.

        Raises:
            DamagedFile: It is not known who is still to be removed.
        """
        if not log.folder.exists(UNREAD):
            return cls()
        what = "the damaged files of the event log"
        return parsed(log.folder.read_bytes(UNREAD), f"{log.folder}/{UNREAD}", _unread, what, CURE)

    def note(self, log: EventLog, lock: Lock) -> None:
        """Writes the file, or deletes it where no file of the log is damaged."""
        if self.files:
            update_file(log.folder, UNREAD, lambda _: json_bytes(asdict(self)), lock)
        elif log.folder.exists(UNREAD):
            lock.require()
            log.folder.delete_file(UNREAD)


def _unread(value: Any) -> Unread:
    users = mapping(value["users"]).items()
    return Unread([str(file) for file in value["files"]], {user: int(at) for user, at in users})


def remove_events(log: EventLog, forgotten: Mapping[str, int], lock: Lock = ALONE) -> int:
    """Removes the events of users from before they were forgotten; returns how many.

    A damaged file stays as it is, and is named. It is noted with who may be in it: they are removed by the first call
    that finds the file restored.

    Args:
        forgotten: By `user_key`, when they were forgotten, in microseconds since 1970.
        lock: The lock of compaction, which this process holds.

    Raises:
        OSError: The storage does not answer.
        DataError: A file is of another version.
    """
    before = Unread.of(log)
    users = {**before.users, **forgotten}
    if not users:
        return 0
    is_removed, removed, damaged = Removal(users, user_key), 0, list[str]()
    for file in log.files() if forgotten else filter(log.folder.exists, before.files):
        try:
            removed += _remove_from(log, file, is_removed, lock)
        except DamagedEvents as e:
            log.folder.read_bytes(file)  # raises OSError where it is the storage that does not answer
            left_out(f"{e}. Users who were forgotten may be in it; when it is restored, they are removed from it")
            damaged.append(file)
    Unread(damaged, users).note(log, lock)
    return removed


def _remove_from(log: EventLog, file: str, is_removed: Removal, lock: Lock) -> int:
    table = log.read(file)
    kept_N = ~is_removed(table["user_id"], table["received"].cast(pa.int64()).to_numpy())
    if kept_N.all():
        return 0
    lock.require()
    if kept_N.any():
        log.folder.write_table(file, table.filter(pa.array(kept_N)))
    else:
        log.folder.delete_file(file)
    return int((~kept_N).sum())
