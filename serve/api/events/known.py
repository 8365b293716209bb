"""What the state of a user adds to a query, and how it is shown."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from data.sequences.histories import TIME, TYPE
from serve.api.adapter import RequestAdapter
from serve.events.config import EventsConfig
from serve.events.event import MICROS
from serve.events.state import EMPTY, UserState
from serve.pipeline.messages import Query

MAX_SHOWN = 200
"""Most items of a release's history that are shown of a user."""


def with_state(
    query: Query, state: UserState, context: Mapping[str, str], adapter: RequestAdapter, config: EventsConfig
) -> Query:
    """The query with what is known of its user from events.

    - The history grows by the items of positive events, with their times and types if the user tower takes them. Those
      that the request names too count once, and as seen, whatever their events say.
    - Those among them that a log of one's own may have too are counted, for the user encoder, which knows the log's
      history, to leave out what it has.
    - Items that count as seen are left out of the answer, if the query leaves out seen items.
    - Context that the request lacks is that of the user's last event.
    - Of a user who was forgotten after the release's log was read, the release's own history does not count.

    Args:
        context: The request's own context.
    """
    if state is EMPTY:
        return query
    now_us = time.time_ns() // 1000
    positives = state.positives(config, adapter.released_events)
    rows = adapter.items.rows_by_id(positives.item_id)  # 0 where the release does not know the item
    recent = tuple(filter(None, rows))
    times: tuple[int, ...] = ()
    types: tuple[int, ...] = ()
    if TIME in adapter.history_columns:
        times = tuple(at // MICROS for at, row in zip(positives.time_us, rows, strict=True) if row)
    if TYPE in adapter.history_columns:
        known_types = [adapter.type_rows.get(name, 0) for name in positives.types]
        types = tuple(known_types[type_] for type_, row in zip(positives.type_, rows, strict=True) if row)
    num_doubtful = sum(map(bool, rows[: adapter.released_events.num_doubtful(positives)]))
    among = set(recent) if query.history else ()
    named = tuple(row for row in query.history if row in among)
    joined = with_last_context(context, state, config)
    return replace(
        query,
        user_id=None if state.outlived(adapter.log_read_us) else query.user_id,
        recent=recent,
        recent_times=times,
        recent_types=types,
        num_doubtful=num_doubtful,
        seen=(*adapter.known_rows(state.seen_at(now_us, config)), *named),
        history=tuple(row for row in query.history if row not in among),
        context=query.context if joined is context else adapter.context_rows(joined),
    )


def with_last_context(context: Mapping[str, str], state: UserState, config: EventsConfig) -> Mapping[str, str]:
    """A request's context, and after it what the context of its user's last event has under other names.

    The request's own context itself, if there is nothing else.
    """
    last = state.context(time.time_ns() // 1000, config)
    return {**context, **{name: last[name] for name in last if name not in context}} if last else context


def user_json(
    user_id: str, state: UserState, adapter: RequestAdapter, config: EventsConfig, release_history: Sequence[str]
) -> dict[str, Any]:
    """What is known of a user, as `serve.api.events.schemas.UserResponse` in JSON values.

    Args:
        release_history: The items of the user in the log that the release was trained on, oldest first.
    """
    now_us = time.time_ns() // 1000
    return {
        "user_id": user_id,
        "events": [
            {"item_id": e.item_id, "type": e.type, "time": moment(e.time_us), "value": e.value, "context": e.context}
            for e in state.events
        ],
        "seen": state.seen_at(now_us, config),
        "counts": {
            name: {"total": c.total, "decayed": round(c.decayed_at(now_us, config), 3), "last": moment(c.time_us)}
            for name, c in state.counts.items()
        },
        "forgotten": None if state.forgotten_us is None else moment(state.forgotten_us),
        "release_id": adapter.release_id,
        "release_history": list(release_history[-MAX_SHOWN:]),
    }


def moment(time_us: int) -> str:
    """A time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(time_us / MICROS, UTC).isoformat()
