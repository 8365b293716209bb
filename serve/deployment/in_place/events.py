"""Events where a change of an endpoint that runs has another store for them: what waits in the former one is kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.artifacts.errors import ConfigError, one_line
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost
from data.cluster.console import ProgressReporter
from data.sources.event_log.files import EventLog
from data.sources.event_log.stores import forget_store
from serve.deployment.application import Arguments
from serve.deployment.declared import APPLICATION, BUILDER
from serve.events.compaction import LOCK, compact
from serve.events.config import EventsConfig
from serve.events.notes.store_id import store_id
from serve.events.protocol import StoreUnavailable
from serve.events.stores import STATE_STORES


@dataclass(frozen=True, slots=True)
class FormerStore:
    """The store of an endpoint that runs, where a change has another one.

    Attributes:
        events: the config of events before the change.
        storage: the storage root whose event log takes what waits in the store.
    """

    events: EventsConfig
    storage: Folder

    def empty(self) -> int:
        """Moves the events that wait into the event log, which notes who was forgotten too; returns how many.

        The log no longer names the store among those that are in use, so the next one is not warned of it.

        Raises:
            StoreUnavailable: the store does not answer, or is a file of another machine.
            OSError, HashKeyMissing, LeaseLost: as `compact`.
        """
        if self.events.is_on_one_machine and not Path(self.events.path).exists():  # opened, it would be created
            raise StoreUnavailable(f"events.path: there is no {self.events.path} on this machine")
        store = STATE_STORES[self.events.store](self.events)
        try:
            num_events = compact(self.events, store, self.storage)
            left = store_id(store)
        finally:
            store.close()
        log = EventLog.of(self.storage)
        with log.folder.locked(LOCK) as lock:
            forget_store(log, left, lock)
        return num_events


def former_store(applications: Mapping[str, Mapping[str, Any]], new: EventsConfig) -> FormerStore | None:
    """Returns the store of the endpoint that runs; None where a change keeps it, or where there is none.

    Args:
        applications: by name, as Ray Serve keeps what was declared of them.
        new: the config of events after the change.

    Raises:
        ConfigError: the values of the endpoint that runs are not taken here.
    """
    endpoint = applications.get(APPLICATION)
    if endpoint is None or endpoint["import_path"] != BUILDER:
        return None
    before = Arguments.model_validate(endpoint.get("args") or {}).config()
    if not before.events.is_on or before.events.place == new.place:
        return None
    return FormerStore(before.events.on_this_machine(), Folder.of(before.storage.root))


@contextmanager
def emptying(former: FormerStore | None, replaces: bool = False, progress: ProgressReporter = print) -> Iterator[None]:
    """Empties a former store into the event log, before the change in the block and once more after it.

    Args:
        former: None does nothing.
        replaces: whether the change is made also where that fails.

    Raises:
        ConfigError: it fails, and the block has not begun.
        StoreUnavailable, OSError, HashKeyMissing, LeaseLost: it fails after the change.
    """
    if former is None:
        yield
        return
    place = former.events.place
    progress(
        f"serve: {place} is left: what waits there goes into the event log, and who was forgotten stays so; states of"
        " users begin anew, so that answers know what a user did before once a release has learned from the log"
    )
    try:
        former.empty()
    except (OSError, ValueError, LeaseLost) as e:
        if not replaces:
            raise ConfigError(
                f"events.store: {place} cannot be emptied into the event log ({one_line(e)}), and after the change"
                " nothing would do so; run the command on the endpoint's machine, with what its replicas have in their"
                " environment, or add replace=true to leave there what waits"
            ) from e
        progress(f"serve: {place} is not emptied, and what waits there is not in the event log: {one_line(e)}")
        yield
        return
    yield
    progress(f"serve: {place} is left; {former.empty():,} events have come there meanwhile, and are in the event log")
