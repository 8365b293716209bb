"""Which event log a state store is compacted into: one, since each event is taken out of the store once.

Of two endpoints that share a store, such as one Redis, but no `storage.root`, each would take events of the other one
into its log, and would remove the users from it who were forgotten at either, but at random.
"""

import orjson

from data.artifacts.errors import ConfigError
from data.artifacts.json_text import mapping, parsed
from data.artifacts.leases import Lock
from data.sources.event_log.files import EventLog
from data.sources.event_log.identity import ID, known_id, log_id
from serve.events.config import EventsConfig
from serve.events.protocol import StateStore

LOG = "log"
"""The name of the note that has the id of the log, and where it is."""

CURES = {
    "redis": "another database, such as events.uri=redis://HOST:PORT/1 (a cluster has one alone)",
    "sqlite": "another file by events.path",
}


def require_log(config: EventsConfig, store: StateStore, log: EventLog, lock: Lock) -> None:
    """Notes in a store which event log takes what it has, and refuses any other one.

    A log that was moved or copied elsewhere with its files is the same one: the store then notes where it is now.

    Args:
        config: That of the store.
        lock: The lock of compaction of the log, which this process holds.

    Raises:
        ConfigError: The store has another log.
        StoreUnavailable: The store does not answer.
        DamagedFile: The id of the log, or the note, cannot be read.
    """
    place, mine = f"{log.folder}", log_id(log, lock)
    note = orjson.dumps({"id": mine, "place": place}).decode()
    found = store.note(LOG, note, replaces=False)
    its_id, its_place = parsed(found.encode(), f"{config.place}, note {LOG!r}", _id_and_place, "the log of the store")
    if its_id != mine:
        cure = CURES.get(config.store, "a store of its own")
        raise ConfigError(
            f"events.store: {config.place} has the events of an endpoint whose event log is {its_place}, not {place}:"
            f" give this endpoint {cure}. If {place} takes the place of {its_place}, copy {ID} from there, or write"
            f' {{"id": "{its_id}"}} into {place}/{ID}'
        )
    if its_place != place:
        store.note(LOG, note)


def is_log_of(store: StateStore, log: EventLog) -> bool:
    """Whether compaction into a log would take a store: it has this log, or none yet.

    Raises:
        StoreUnavailable: The store does not answer.
        OSError: The storage does not answer.
        DamagedFile: The id of the log, or the note, cannot be read.
    """
    if (found := store.noted(LOG)) is None:
        return True
    its_id, _ = parsed(found.encode(), f"note {LOG!r} of the store", _id_and_place, "the log of the store")
    return its_id == known_id(log)


def _id_and_place(value: object) -> tuple[str, str]:
    found = mapping(value)
    return str(found["id"]), str(found["place"])
