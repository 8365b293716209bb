"""What is popular now: positive events by item, in all and by the values of their context, with a half-life of hours.

Compaction adds each part of the log once, and replicas read the result periodically. The result is a small table in the
folder of the event log, `_popular.parquet`, which has the name of the last part and the latest users in its metadata.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.errors import one_line
from data.artifacts.folders import Folder
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records.json_files import left_out
from data.sources.event_log.files import SCHEMA as EVENTS
from data.sources.event_log.files import EventLog
from serve.events.config import EventsConfig
from serve.events.popular.weighing import (
    EVERYWHERE,
    HOUR_US,
    PLAIN,
    SCHEMA,
    USERS,
    added_to,
    decayed,
    latest_users,
    weighed,
)

FILE = "_popular.parquet"

MAX_ITEMS, MAX_CONTEXTS = 1000, 200
"""Most items of a context value, and most values, that are kept; the heaviest ones."""

LEAST_WEIGHT = 20.0
"""Least total weight of the popular items of a context value, or of all events, that are used for answers."""

LEAST_USERS, WITHIN_HALF_LIVES = 5, 4
"""Least number of users whose events these are, and in how many half-lives the events must have happened."""


@dataclass(frozen=True, slots=True)
class PopularNow:
    """The items that are popular now.

    Attributes:
        items: by context, such as `daypart=evening`, ids and weights of items, the heaviest first.
    """

    items: Mapping[str, tuple[Sequence[str], np.ndarray]] = field(default_factory=dict)

    @classmethod
    def read(cls, config: EventsConfig, storage: Folder, now_us: int | None = None) -> "PopularNow":
        """Reads what compaction has written under a storage root, decayed to now.

        It is empty where compaction has written nothing, where events are off, and where they do not decay
        (`popular_half_life_h` is 0), whatever was written before.

        Args:
            now_us: as of when, in microseconds since 1970; None means now.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        folder = EventLog.of(storage).folder
        if not config.is_on or not config.popular_half_life_h or not folder.exists(FILE):
            return cls()
        now_us = time.time_ns() // 1000 if now_us is None else now_us
        written, half_life_us = _written(folder), config.popular_half_life_h * HOUR_US
        table = _decayed(written, now_us, half_life_us).select(PLAIN)
        if (users := _users(written)) is not None:
            table = _of_enough_users(table, users, now_us - int(WITHIN_HALF_LIVES * half_life_us))
        table, found = table.sort_by([("context", "ascending"), ("weight", "descending")]), {}
        for context in pc.unique(table["context"]).to_pylist():
            of_context = table.filter(pc.equal(table["context"], context))
            weights = of_context["weight"].to_numpy()
            if weights.sum() >= LEAST_WEIGHT:
                found[context] = of_context["item_id"].to_pylist(), weights
        return cls(found)

    def at(self, context: Mapping[str, str]) -> str | None:
        """The context whose popular items fit a request: its first value with enough weight and users, or all events.

        None if not even all events have enough.
        """
        keys = [*(f"{name}={value}" for name, value in context.items()), EVERYWHERE]
        return next((key for key in keys if key in self.items), None)


def add_popular(
    config: EventsConfig, storage: Folder, part: str, events: Sequence[Mapping[str, Any]], lock: Lock = ALONE
) -> None:
    """Adds the events of a part of the log, unless it was added before; the weights of before decay to now.

    A damaged file is named, and what is popular is counted anew: the log itself must not wait for it.

    Args:
        part: its name, which no other part has.
        events: JSON values as `Event.as_json` gives them.
        lock: the lock of compaction, which this process holds.
    """
    folder = EventLog.of(storage).folder
    before, users = SCHEMA.empty_table(), USERS.empty_table()
    now_us = max((int(event["received"]) for event in events), default=0)
    if (found := _written_or_left_out(folder)) is not None:
        before = found
        if (before.schema.metadata or {}).get(b"part", b"").decode() == part:
            return
        now_us, users = max(now_us, _time_us(before)), _users(before) or users
        before = _decayed(before, now_us, config.popular_half_life_h * HOUR_US)
    happened = pa.Table.from_pylist([dict(event) for event in events], schema=EVENTS)
    once, added_users = weighed(config, happened, now_us)
    whole = added_to(before.replace_schema_metadata(None), once, MAX_CONTEXTS, MAX_ITEMS)
    users = latest_users(pa.concat_tables([users, added_users]), whole["context"], LEAST_USERS)
    metadata = {"part": part, "time_us": str(now_us), "users": orjson.dumps(users.to_pydict())}
    lock.require()
    folder.write_table(FILE, whole.replace_schema_metadata(metadata))


def _written(folder: Folder) -> pa.Table:
    """What compaction has written, by SCHEMA, with its metadata; OSError or ValueError where it cannot be read."""
    table = folder.read_table(FILE)
    if table.column_names == PLAIN:  # of an earlier version
        none = (pa.array([[]] * len(table), SCHEMA.field(name).type) for name in SCHEMA.names[len(PLAIN) :])
        table = pa.table([*table.columns, *none], names=SCHEMA.names, metadata=table.schema.metadata)
    try:
        found = table.cast(SCHEMA).replace_schema_metadata(table.schema.metadata)
        _time_us(found)
        _users(found)
    except (pa.ArrowException, KeyError, TypeError) as e:
        raise ValueError(f"{folder}/{FILE}: {e}") from e
    return found


def _written_or_left_out(folder: Folder) -> pa.Table | None:
    """The same; None where there is no such file, or a damaged one, which is named."""
    if not folder.exists(FILE):
        return None
    try:
        return _written(folder)
    except (OSError, ValueError) as e:
        folder.exists(FILE)  # raises OSError where the storage does not answer
        left_out(f"{folder}/{FILE}: cannot be read ({one_line(e)}); what is popular now is counted anew from here on")
        return None


def _time_us(table: pa.Table) -> int:
    """The moment as of which the weights of a table that compaction has written hold."""
    return int((table.schema.metadata or {}).get(b"time_us", b"0"))


def _users(table: pa.Table) -> pa.Table | None:
    """The latest users by USERS; None in a file of an earlier version, which did not tell users apart."""
    users = (table.schema.metadata or {}).get(b"users")
    return None if users is None else pa.Table.from_pydict(orjson.loads(users), schema=USERS)


def _of_enough_users(table: pa.Table, users: pa.Table, since_us: int) -> pa.Table:
    """The rows of the contexts in which enough users have caused events since a moment."""
    users = users.filter(pc.greater_equal(users["time_us"], since_us))
    counts = users.group_by("context").aggregate([([], "count_all")])
    enough = counts.filter(pc.greater_equal(counts["count_all"], LEAST_USERS))["context"].combine_chunks()
    return table.filter(pc.is_in(table["context"], value_set=enough))


def _decayed(table: pa.Table, now_us: int, half_life_us: float) -> pa.Table:
    """The table with its weights as of now."""
    past = max(now_us - _time_us(table), 0) / half_life_us
    return decayed(table, 0.5**past)
