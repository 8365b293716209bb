"""Users who were forgotten after the log of a release was read: what the release knows of them counts no more."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from data.artifacts.folders import Folder
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.exposures import exposures_folder
from data.sources.event_log.files import UNTIL, EventLog
from data.sources.event_log.forgetting import FORGOTTEN
from serve.events.config import EventsConfig
from serve.events.protocol import StateStore, StoreUnavailable
from serve.events.stores import STATE_STORES

PART = 500
"""Users whose states are read at a time."""


def forgotten_users(config: EventsConfig, storage: Folder, user_ids: pa.Array, read_us: int) -> list[str]:
    """Which of some users were forgotten after a moment, in their order; none where events are off.

    Args:
        storage: The storage root, which tells whether there are states of users anywhere.
        read_us: The moment, in microseconds since 1970.

    Raises:
        StoreUnavailable: The states of users cannot be read, or are a file of another machine, so that it is not known
            who was forgotten.
    """
    if not config.is_on:
        return []
    if config.is_on_one_machine and not Path(config.path).exists():  # opened, it would be created
        _require_no_events(config, storage)
        return []
    at_leisure = replace(config, state_ms=config.accept_ms)  # no request waits for it
    store: StateStore = STATE_STORES[config.store](at_leisure)
    try:
        return list(_forgotten(store, user_ids, read_us))
    except StoreUnavailable as e:
        raise StoreUnavailable(f"{e}; it says who was forgotten: start it, or pass events=off to ask nobody") from e
    finally:
        store.close()


def _forgotten(store: StateStore, user_ids: pa.Array, read_us: int) -> Iterator[str]:
    for start in range(0, len(user_ids), PART):
        part = user_ids[start : start + PART].to_pylist()
        yield from (id_ for id_, state in zip(part, store.read(part), strict=True) if state.outlived(read_us))


def _require_no_events(config: EventsConfig, storage: Folder) -> None:
    """Raises StoreUnavailable where an endpoint takes events or has forgotten users: its store is elsewhere then."""
    noted = (
        (EventLog.of(storage).folder, UNTIL),
        (DecisionLog.of(storage).folder, FORGOTTEN),
        (exposures_folder(storage), FORGOTTEN),
    )
    if found := [f"{folder}/{name}" for folder, name in noted if folder.exists(name)]:
        raise StoreUnavailable(
            f"events.path: there is no {config.path}, though {found[0]} says that there is an endpoint; its store"
            " knows who was forgotten: run the command on the endpoint's machine and from its folder, give its file by"
            " events.path=..., or pass events=off to ask nobody"
        )
