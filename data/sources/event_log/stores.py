"""Which state stores are compacted into the event log: it is that of one endpoint, and two would spoil it.

The log is complete until the later of the times that they say, so events of the other one may be missing from what is
read until then; and who is forgotten at one endpoint is not at the other.
"""

import logging
from functools import cache

from data.artifacts.folders import json_bytes
from data.artifacts.json_text import DamagedFile, mapping, parsed
from data.artifacts.leases import Lock
from data.artifacts.records.json_files import left_out
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import MICROS, EventLog

STORES = "_stores.json"
"""The file in the folder of the log that has, by store, when it was compacted last, in microseconds since 1970."""

LATELY_US = 86_400 * MICROS
"""A store that was compacted within this time counts as one that is in use."""

logger = logging.getLogger(__name__)


def note_store(log: EventLog, store: str, now_us: int, lock: Lock) -> None:
    """Notes that a store is compacted into the log; warns, once for each process, where another one was so lately.

    Args:
        store: Where the store is, in words and without a password.
        lock: The lock of compaction, which this process holds.
    """

    def noted(content: bytes | None) -> bytes:
        return json_bytes(_others(log, content, store, now_us) | {store: now_us})

    _, content = update_file(log.folder, STORES, noted, lock)
    for other in sorted(_others(log, content, store, now_us)):
        _warn(f"{log.folder}", store, other)


def forget_store(log: EventLog, store: str, lock: Lock) -> None:
    """Takes a store off the note, as one that is no longer in use; nothing changes where it is not there.

    Args:
        store: As for `note_store`.
        lock: The lock of compaction, which this process holds.
    """

    def without(content: bytes | None) -> bytes:
        return json_bytes({name: at for name, at in _noted(log, content).items() if name != store})

    update_file(log.folder, STORES, without, lock)


def _others(log: EventLog, content: bytes | None, store: str, now_us: int) -> dict[str, int]:
    """The other stores that were compacted lately."""
    return {name: at for name, at in _noted(log, content).items() if name != store and now_us - at < LATELY_US}


def _noted(log: EventLog, content: bytes | None) -> dict[str, int]:
    """When each store was compacted last; none where the file is damaged, which is written anew."""
    try:
        place, what = f"{log.folder}/{STORES}", "the stores of the log"
        return {} if content is None else parsed(content, place, _times, what, "it is written anew")
    except DamagedFile as e:
        left_out(str(e))
        return {}


def _times(value: object) -> dict[str, int]:
    return {name: int(at) for name, at in mapping(value).items()}


@cache
def _warn(folder: str, store: str, other: str) -> None:
    logger.warning(
        "%s: has events of two stores, %s and, within the last day, %s: datasets may lack events of one of them, and"
        " who is forgotten at one endpoint is not at the other. If both are in use, give one of the endpoints a"
        " storage.root of its own, or both the same store (events=redis)",
        folder,
        store,
        other,
    )
