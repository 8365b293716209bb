"""Which state stores are compacted into the event log: it is that of one endpoint, and two would spoil it.

The log is complete until the later of the times that they say, so events of the other one may be missing from what is
read until then; and who is forgotten at one endpoint is not at the other.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache

from data.artifacts.folders import json_bytes
from data.artifacts.json_text import DamagedFile, mapping, parsed
from data.artifacts.leases import Lock
from data.artifacts.records.json_files import left_out
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import MICROS, EventLog

STORES = "_stores.json"
"""The file in the folder of the log that has, by the id of a store, where it is and when it was compacted last."""

LATELY_US = 86_400 * MICROS
"""A store that was compacted within this time counts as one that is in use."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotedStore:
    """A store that was compacted into the log.

    Attributes:
        place: Where it was then, in words and without a password: a file may have another path, and its machine another
            name, each time, as in a container.
        at: When it was compacted last, in microseconds since 1970.
    """

    place: str
    at: int


def note_store(log: EventLog, store: str, place: str, now_us: int, lock: Lock) -> None:
    """Notes that a store is compacted into the log; warns, once for each process, where another one was so lately.

    One at the same place is the same store, which has begun anew.

    Args:
        store: The id of the store, which stays with what is in it.
        place: Where the store is, in words and without a password.
        lock: The lock of compaction, which this process holds.
    """
    now = NotedStore(place, now_us)

    def noted(content: bytes | None) -> bytes:
        return _written(_others(log, content, store, now) | {store: now})

    _, content = update_file(log.folder, STORES, noted, lock)
    for other in sorted(found.place for found in _others(log, content, store, now).values()):
        _warn(f"{log.folder}", place, other)


def forget_store(log: EventLog, store: str, lock: Lock) -> None:
    """Takes a store off the note, as one that is no longer in use; nothing changes where it is not there.

    Args:
        store: As for `note_store`.
        lock: The lock of compaction, which this process holds.
    """

    def without(content: bytes | None) -> bytes:
        return _written({id_: found for id_, found in _noted(log, content).items() if id_ != store})

    update_file(log.folder, STORES, without, lock)


def _written(stores: Mapping[str, NotedStore]) -> bytes:
    return json_bytes({id_: asdict(found) for id_, found in stores.items()})


def _others(log: EventLog, content: bytes | None, store: str, now: NotedStore) -> dict[str, NotedStore]:
    """The other stores that were compacted lately."""
    return {
        id_: found
        for id_, found in _noted(log, content).items()
        if id_ != store and found.place != now.place and now.at - found.at < LATELY_US
    }


def _noted(log: EventLog, content: bytes | None) -> dict[str, NotedStore]:
    """By its id, what is noted of each store; none where the file is damaged, which is written anew."""
    try:
        place, what = f"{log.folder}/{STORES}", "the stores of the log"
        return {} if content is None else parsed(content, place, _stores, what, "it is written anew")
    except DamagedFile as e:
        left_out(str(e))
        return {}


def _stores(value: object) -> dict[str, NotedStore]:
    return {id_: NotedStore(str(of["place"]), int(of["at"])) for id_, of in mapping(value).items()}


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
