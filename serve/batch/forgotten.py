"""Users who were forgotten after the log of a release was read: what the release knows of them counts no more."""

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from serve.events.config import EventsConfig
from serve.events.protocol import StateStore, StoreUnavailable
from serve.events.stores import STATE_STORES

PART = 500
"""Users whose states are read at a time."""


def forgotten_users(config: EventsConfig, user_ids: pa.Array, read_us: int) -> list[str]:
    """Which of some users were forgotten after a moment, in their order; none where events are off.

    Args:
        read_us: The moment, in microseconds since 1970.

    Raises:
        StoreUnavailable: The states of users cannot be read, so that it is not known who was forgotten.
    """
    if not config.is_on:
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
