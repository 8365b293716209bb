"""The state of one user: the latest events, what counts as seen, and counters that decay. Pure values.

A store keeps the state as JSON (`encode`, `decode`). All stores update it by `with_events`, so that all of them hold
the same after the same events.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from data.sources.event_types import is_positive
from serve.events.config import EventsConfig
from serve.events.event import MICROS, Event
from serve.events.recent import NO_EVENTS, Happening, RecentEvents

DAY_US = 86_400 * MICROS


@dataclass(frozen=True, slots=True)
class Counter:
    """How often a user caused events of one type: in all, and with a half-life as of `time_us`."""

    total: int
    decayed: float
    time_us: int

    def decayed_at(self, now_us: int, config: EventsConfig) -> float:
        """The decayed count as of now."""
        return self.decayed * 0.5 ** (max(now_us - self.time_us, 0) / (config.half_life_days * DAY_US))


@dataclass(frozen=True, slots=True)
class ReleasedEvents:
    """Which events are in a release's histories: those of a log that was read at a moment, up to a boundary.

    Attributes:
        until_us: They were accepted until then.
        before_us: They happened before this moment, at which the split begins that is not in the histories; None where
            the histories have all splits. The log's times are whole seconds, and so is the boundary.
        log_until_s: Of a log of one's own, which may have the events too: the time of the newest interaction in the
            histories, in seconds since 1970. None where events are known by the moment, and of a log without times.
    """

    until_us: int = 0
    before_us: int | None = None
    log_until_s: int | None = None

    @classmethod
    def of_dataset(cls, said: Mapping[str, Any]) -> "ReleasedEvents":
        """The events in the histories of a dataset, by what a release's manifest says of it."""
        until_us = int(said.get("events_until_us", 0))
        return cls(until_us, said.get("events_before_us"), said.get("histories_until_s"))

    def has(self, received_us: int, time_us: int) -> bool:
        """Whether an event that was accepted and happened at these moments is in the histories."""
        return received_us <= self.until_us and (self.before_us is None or time_us < self.before_us)

    def num_doubtful(self, events: RecentEvents) -> int:
        """How many of the events, from the first one on, happened before the end of a log of one's own."""
        if self.log_until_s is None:
            return 0
        return bisect_right(events.time_us, self.log_until_s, key=lambda time_us: time_us // MICROS)


NONE_RELEASED = ReleasedEvents()


@dataclass(frozen=True, slots=True)
class UserState:
    """What is known of a user from events.

    Attributes:
        events: The latest events, oldest first.
        seen: By item id, when it was last seen.
        counts: By type.
        forgotten_us: When the user was forgotten; None if never. What happened before is kept out.
    """

    events: RecentEvents = NO_EVENTS
    seen: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, Counter] = field(default_factory=dict)
    forgotten_us: int | None = None

    def encode(self) -> bytes:
        """The state as JSON."""
        values = {
            "columns": self.events.as_json(),
            "seen": self.seen,
            "counts": {name: [c.total, c.decayed, c.time_us] for name, c in self.counts.items()},
            "forgotten": self.forgotten_us,
        }
        return orjson.dumps(values)

    @classmethod
    def decode(cls, encoded: bytes | str | None) -> "UserState":
        """The state that `encode` wrote; an empty one for None.

        Raises:
            ValueError: It is no such state.
        """
        return EMPTY if encoded is None else cls.of_json(orjson.loads(encoded))

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "UserState":
        """The state of the JSON values that `encode` wrote, or wrote before it had columns: a list for each event."""
        rows = values.get("events")
        return cls(
            RecentEvents.of_json(values["columns"]) if rows is None else RecentEvents.of(map(Happening._make, rows)),
            values["seen"],
            {name: Counter(*entry) for name, entry in values["counts"].items()},
            values["forgotten"],
        )

    def keeps_out(self, event: Event) -> bool:
        """Whether the user was forgotten after the event happened."""
        return self.forgotten_us is not None and event.time_us <= self.forgotten_us

    def outlived(self, read_us: int) -> bool:
        """Whether the user was forgotten after the log was read for something, such as a release's history."""
        return self.forgotten_us is not None and read_us < self.forgotten_us

    def with_events(self, events: Sequence[tuple[Event, int]], config: EventsConfig) -> "UserState":
        """The state after some events, each with the time at which it was accepted; within the bounds of the config."""
        added = [Happening(e.time_us, at, e.item_id, e.type, e.value, dict(e.context)) for e, at in events]
        now_us = max(at for _, at in events)
        seen, counts = dict(self.seen), dict(self.counts)
        for event in added:
            if config.types[event.type].is_seen:
                seen[event.item_id] = max(event.time_us, seen.get(event.item_id, 0))
            counts[event.type] = _counted(counts.get(event.type), event.time_us, config)
        ordered = sorted((*self.events, *added), key=lambda e: e.order)
        kept = [ordered[n] for n in _kept(ordered, config.history, config)]
        oldest_us = now_us - int(config.seen_days * DAY_US)
        latest = sorted((at, item_id) for item_id, at in seen.items() if at >= oldest_us)
        latest = latest[max(len(latest) - config.max_seen, 0) :]
        return UserState(RecentEvents.of(kept), {item_id: at for at, item_id in latest}, counts, self.forgotten_us)

    def seen_at(self, now_us: int, config: EventsConfig) -> list[str]:
        """The items that count as seen now."""
        oldest_us = now_us - int(config.seen_days * DAY_US)
        return [item_id for item_id, at in self.seen.items() if at >= oldest_us]

    def positives(self, config: EventsConfig, but: ReleasedEvents = NONE_RELEASED) -> RecentEvents:
        """The user's positive events, oldest first, as training has them.

        Args:
            but: Events that are left out, because they are in the release's history.
        """
        events = self.events
        positive = {n for n, name in enumerate(events.types) if _is_positive(name, config)}
        found = zip(events.received_us, events.time_us, events.type_, strict=True)
        chosen = [n for n, (at, time_us, type_) in enumerate(found) if type_ in positive and not but.has(at, time_us)]
        return events if len(chosen) == len(events) else events.chosen(chosen)

    def context(self, now_us: int, config: EventsConfig) -> Mapping[str, str]:
        """The context of the latest event that has one, unless that is too long ago."""
        oldest_us = now_us - int(config.context_s * MICROS)
        if self.events.context is None:
            return {}
        found = zip(reversed(self.events.context), reversed(self.events.time_us), strict=True)
        return next((context for context, time_us in found if context and time_us >= oldest_us), {})

    def encode_within(self, config: EventsConfig) -> bytes:
        """The state as JSON, without as many of its events and oldest seen items as its size demands."""
        state, encoded = self, self.encode()
        while len(encoded) > config.max_state_bytes and (state.events or state.seen):
            share = 0.9 * config.max_state_bytes / len(encoded)
            num_events, num_seen = int(len(state.events) * share), int(len(state.seen) * share)
            seen = dict(list(state.seen.items())[len(state.seen) - num_seen :])
            events = state.events.chosen(_kept(state.events, num_events, config))
            state = replace(state, events=events, seen=seen)
            encoded = state.encode()
        return encoded


def _is_positive(name: str, config: EventsConfig) -> bool:
    """Whether a type is positive; one that is not declared any more is not."""
    return name in config.types and is_positive(config.types[name])


def _kept(events: Sequence[Happening], most: int, config: EventsConfig) -> list[int]:
    """The positions of the events that stay, at most so many of them, in their order.

    Positives are the history, as training has it, and no number of other events may displace them. So other events
    give way first, the oldest of them before the others, and then the oldest positives. The latest event with a context
    counts as a positive here: requests take the context from it.
    """
    if len(events) <= most:
        return list(range(len(events)))
    with_context = next((n for n in range(len(events) - 1, -1, -1) if events[n].context), None)
    stays_longer = [n == with_context or _is_positive(events[n].type, config) for n in range(len(events))]
    in_order_of_loss = sorted(range(len(events)), key=lambda n: (stays_longer[n], n))
    return sorted(in_order_of_loss[len(events) - most :])


def _counted(counter: Counter | None, time_us: int, config: EventsConfig) -> Counter:
    """The counter with one event more; an event of the past counts less, and no event changes the time back."""
    if counter is None:
        return Counter(1, 1.0, time_us)
    half_life_us = config.half_life_days * DAY_US
    latest_us = max(counter.time_us, time_us)
    decayed = counter.decayed * 0.5 ** ((latest_us - counter.time_us) / half_life_us)
    return Counter(counter.total + 1, decayed + 0.5 ** ((latest_us - time_us) / half_life_us), latest_us)


EMPTY = UserState()
