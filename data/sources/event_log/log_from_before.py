"""Leaves users who were forgotten at an endpoint out of the log from before it, which still has them.

Compaction notes who was forgotten in `_forgotten.json` of the event log, before it says that the log is complete until
then. So who reads first how far the log is complete, and then the note, finds all who were forgotten by then. Users
are named there by `user_key` and not by the keyed hash of the logs of answers: preparation runs on machines without
USER_HASH_KEY, and must find them after the key was exchanged too.

Shape legend: N interactions.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from data.artifacts.leases import ALONE, Lock
from data.artifacts.records import arrow_compute as pc
from data.artifacts.records.json_files import read_json_file
from data.sources.event_log.files import MICROS, EventLog
from data.sources.event_log.forgetting import FORGOTTEN, WHO, note_forgotten
from data.sources.event_log.removal import Removal
from data.sources.event_log.users import times_of, user_key
from data.sources.source import RawLog

OF_FORGOTTEN = "users who were forgotten"
"""What interactions of forgotten users say in the column `missing`, by which the survey leaves them out and counts
them."""

CURE = (
    "restore it from a copy of the storage. Without one, remove it, and forget again all users who were forgotten: the"
    " log from before (data.source.base) may still have them"
)

LATEST = np.iinfo(np.int64).max


def note_of_base(log: EventLog, users: Mapping[str, int], lock: Lock = ALONE) -> None:
    """Notes beside the event log who was forgotten.

    Args:
        users: By `user_key`, when they were forgotten, in microseconds since 1970.
        lock: The lock of compaction, which this process holds.

    Raises:
        DamagedFile: It is not known who was forgotten before.
    """
    note_forgotten(log.folder, users, lock, CURE)


def forgotten_of_base(log: EventLog) -> dict[str, int]:
    """By `user_key`, when users were forgotten, in microseconds since 1970; raises DamagedFile."""
    return read_json_file(log.folder, FORGOTTEN, times_of, WHO, CURE) if log.folder.exists(FORGOTTEN) else {}


def marked(block: pa.Table, forgotten: Mapping[str, int]) -> pa.Table:
    """A block by RAW_INTERACTIONS, whose interactions from before their users were forgotten say so in `missing`.

    Times are compared in whole seconds, as logs have them.

    Args:
        forgotten: As `forgotten_of_base` returns it.
    """
    if not forgotten:
        return block
    is_before = Removal({key: at // MICROS for key, at in forgotten.items()}, user_key)
    times_N = np.maximum(pc.fill_null(block["time"], LATEST).to_numpy(), 0)  # a running number may be negative
    is_before_N = pa.array(is_before(pc.fill_null(block["user_id"], ""), times_N))
    column = block.column_names.index("missing")
    return block.set_column(
        column, block.schema.field("missing"), pc.if_else(is_before_N, OF_FORGOTTEN, block["missing"])
    )


def forgotten_ids(users: pa.Table | None, forgotten: Mapping[str, int]) -> pa.Array | None:
    """The ids of the users of a table who were forgotten, whenever; None if there is no table, or nobody was."""
    if users is None or not forgotten:
        return None
    ids = users["user_id"]
    is_forgotten = Removal(forgotten, user_key)(ids, np.zeros(len(ids), dtype=np.int64))
    return ids.filter(pa.array(is_forgotten)).combine_chunks()


def without_forgotten(log: RawLog, user_ids: pa.Array) -> RawLog:
    """The log whose table of users lacks those who were forgotten and have not come back, with a note that says so.

    Args:
        user_ids: Of all users who have interactions.
    """
    if log.users is None or log.forgotten_ids is None or not len(log.forgotten_ids):
        return log
    text = pa.large_string()
    absent = log.forgotten_ids.cast(text)
    absent = absent.filter(pc.invert(pc.is_in(absent, value_set=user_ids.cast(text))))
    users = log.users.filter(pc.invert(pc.is_in(log.users["user_id"].cast(text), value_set=absent)))
    if users.num_rows == log.users.num_rows:
        return log
    left_out = log.users.num_rows - users.num_rows
    note = f"{left_out:,} rows of the table of users are left out, whose users were forgotten at the endpoint"
    return replace(log, users=users, notes=(*log.notes, note))
