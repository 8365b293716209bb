"""The id of an event log, by which a state store knows its own: it stays with the files wherever they are copied."""

import secrets

from data.artifacts.folders import json_bytes
from data.artifacts.json_text import mapping, parsed
from data.artifacts.leases import Lock
from data.artifacts.records.json_files import read_json_file
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import EventLog

ID = "_id.json"
"""The file in the folder of the log that has its id."""

WHAT = "the id of the log"

CURE = "restore it from a copy of the storage, or remove it and do what the next compaction says"


def log_id(log: EventLog, lock: Lock) -> str:
    """Returns the id of a log, which gets one where it has none.

    Args:
        lock: The lock of compaction, which this process holds.

    Raises:
        DamagedFile: The file that has the id is damaged.
    """

    def kept(content: bytes | None) -> bytes:
        return json_bytes({"id": secrets.token_hex(8)}) if content is None else content

    _, content = update_file(log.folder, ID, kept, lock)
    return parsed(content, f"{log.folder}/{ID}", _id, WHAT, CURE)


def known_id(log: EventLog) -> str | None:
    """Returns the id of a log; None where it has none yet. Raises DamagedFile, and OSError."""
    return read_json_file(log.folder, ID, _id, WHAT, CURE) if log.folder.exists(ID) else None


def _id(value: object) -> str:
    return str(mapping(value)["id"])
