"""Events for the tests of state stores."""

import time
from collections.abc import Callable
from typing import Any

from data.sources.event_types import EventType, Sign
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.protocol import LoggedEvents, StateStore

Opening = Callable[[], StateStore]
"""Opens the same store again and again, as several replicas do."""

TYPES = {
    "click": EventType(),
    "view": EventType(seen=False),
    "dismiss": EventType(sign=Sign.negative),
    "impression": EventType(sign=Sign.ignore),
}


def config(**values: Any) -> EventsConfig:
    return EventsConfig(types=TYPES, **values)


def now_us() -> int:
    return time.time_ns() // 1000


def event(event_id: str, user_id: str = "u", item_id: str = "i", type: str = "click", **fields: Any) -> Event:
    return Event(event_id=event_id, user_id=user_id, item_id=item_id, type=type, **{"time_us": now_us()} | fields)


def compacted(store: StateStore, max_events: int = 100) -> list[LoggedEvents]:
    """All parts of the log of a store, each done."""
    parts = []
    while (part := store.part(max_events)) is not None:
        parts.append(part)
        store.done(part)
    return parts
