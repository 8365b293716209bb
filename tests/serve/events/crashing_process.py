"""Accepts and compacts events in a child process that dies at a chosen point.

A point lies before and after each statement to the store, and before and after each call that changes the event log.
"""

import functools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import serve.events.sqlite_store
from data.artifacts.folders import Folder
from serve.events.compaction import compact
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.protocol import Outcome
from serve.events.sqlite_store import SqliteStore
from tests.serve.crash_points import Points

SIZE = 4
"""Events that are accepted in one step."""


def work(
    config: EventsConfig, storage: Folder, events: Sequence[Event], points: Points, said: Callable[..., Any]
) -> None:
    """Accepts the events and says which, and compacts after every second step; forgets the user `gone` at the end."""

    class Connection(sqlite3.Connection):
        execute = points.around(sqlite3.Connection.execute)  # type: ignore[assignment]

    connect = functools.partial(sqlite3.connect, factory=Connection)
    serve.events.sqlite_store.sqlite3 = _Module(connect)  # type: ignore[assignment]
    for owner, names in ((Folder, ("write_bytes", "write_table", "delete_file")), (Path, ("replace",))):
        for name in names:
            setattr(owner, name, points.around(getattr(owner, name)))
    store = SqliteStore(config)
    for number, start in enumerate(range(0, len(events), SIZE)):
        step = events[start : start + SIZE]
        outcomes = store.append(step)
        said("accepted", [e.event_id for e, outcome in zip(step, outcomes, strict=True) if outcome is Outcome.accepted])
        if number % 2:
            compact(config, store, storage)
    store.forget("gone", max(event.time_us for event in events) + 1)
    said("forgotten", [])
    compact(config, store, storage)
    store.close()


class _Module:
    """sqlite3 with another `connect`."""

    def __init__(self, connect: Callable[..., sqlite3.Connection]) -> None:
        self.connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)
