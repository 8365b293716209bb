"""`events.store=sqlite`: a file on this machine, which the replicas of the machine share."""

from serve.events.config import EventsConfig
from serve.events.protocol import StateStore
from serve.events.stores import STATE_STORES


@STATE_STORES.register("sqlite")
def open_sqlite(config: EventsConfig) -> StateStore:
    """Opens the file `events.path`; it is created with the first event."""
    from serve.events.sqlite_store import SqliteStore

    return SqliteStore(config)
