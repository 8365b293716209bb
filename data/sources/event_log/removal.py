"""Removes the events of forgotten users from the event log, damaged files excepted: from these when they are restored.

Shape legend: N events.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.folders import json_bytes
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records.ahead import ahead
from data.artifacts.records.json_files import left_out, read_json_file
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import SCHEMA, DamagedEvents, EventLog
from data.sources.event_log.removing import Removing
from data.sources.event_log.users import times_of, user_key

UNREAD = "_unread.json"

NOTED = 256
"""After so many files it is noted which are done."""

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
        return read_json_file(log.folder, UNREAD, _unread, "the damaged files of the event log", CURE)

    def note(self, log: EventLog, lock: Lock) -> None:
        """Writes the file, or deletes it where no file of the log is damaged."""
        if self.files:
            update_file(log.folder, UNREAD, lambda _: json_bytes(asdict(self)), lock)
        elif log.folder.exists(UNREAD):
            lock.require()
            log.folder.delete_file(UNREAD)


def _unread(value: Any) -> Unread:
    return Unread([str(file) for file in value["files"]], times_of(value["users"]))


def remove_events(log: EventLog, removing: Removing, lock: Lock = ALONE) -> int:
    """Removes the events of users from before they were forgotten; returns how many.

    It notes which files are done, and goes on after the last of them. A damaged file stays as it is, and is named. It
    is noted with who may be in it: they are removed by the first call that finds the file restored.

    Args:
        removing: Who is removed, as it is noted in the log; if nobody, only files that were damaged are read.
        lock: The lock of compaction, which this process holds.

    Raises:
        OSError: The storage does not answer.
        DataError: A file is of another version.
    """
    before = Unread.of(log)
    users = {**before.users, **removing.users}
    if not users:
        return 0
    if removing.users:
        files = [file for file in log.files() if file > removing.after or file in before.files]
    else:
        files = [*filter(log.folder.exists, before.files)]
    removed, damaged = 0, list[str]()
    each = ahead(partial(_remove_from, log, is_removed=Removal(users, user_key), lock=lock), files)
    for number, (file, found) in enumerate(zip(files, each, strict=True), 1):
        lock.require()
        if isinstance(found, DamagedEvents):
            left_out(f"{found}. Users who were forgotten may be in it; when it is restored, they are removed from it")
            damaged.append(file)
        else:
            removed += found
        if removing.users and number % NOTED == 0:
            Unread(list(dict.fromkeys([*before.files, *damaged])), users).note(log, lock)
            removing = removing.done_until(file)
            removing.note(log, lock)
    Unread(damaged, users).note(log, lock)
    return removed


def _remove_from(log: EventLog, file: str, is_removed: Removal, lock: Lock) -> int | DamagedEvents:
    """Removes events from a file; returns how many, or why it cannot be read."""
    try:
        with log.opened(file) as events:
            columns = events.read(["user_id", "received"])
            kept_N = ~is_removed(columns["user_id"], columns["received"].cast(pa.int64()).to_numpy())
            if kept_N.all():
                return 0
            kept = events.read().cast(SCHEMA).filter(pa.array(kept_N))
    except DamagedEvents as e:
        log.folder.read_bytes(file)  # raises OSError where it is the storage that does not answer
        return e
    lock.require()
    if len(kept):
        log.folder.write_table(file, kept)
    else:
        log.folder.delete_file(file)
    return int((~kept_N).sum())
