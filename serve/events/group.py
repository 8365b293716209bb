"""A group of events that a store writes in one step: which are new, and what the states of their users become. Pure."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.sources.event_log.users import user_key
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.protocol import Outcome
from serve.events.state import EMPTY, UserState


@dataclass(frozen=True, slots=True)
class Group:
    """What a store is to write.

    Attributes:
        outcomes: Of each event, in the order in which they were given.
        logged: The accepted events, each with the key of its user and with when it was accepted.
        states: By user key, the states of the users of the accepted events, encoded.
        ids: Id, digest and time of acceptance of each accepted event.
        kept_out: The same of events that happened before their user was forgotten. Only their ids are kept, so that
            they count once like any other event: nobody learns by sending one again that its user was forgotten.
        received_us: When the last of them was accepted.
    """

    outcomes: list[Outcome]
    logged: list[tuple[str, Event, int]]
    states: dict[str, bytes]
    ids: list[tuple[str, str, int]]
    kept_out: list[tuple[str, str, int]]
    received_us: int

    @classmethod
    def of(
        cls,
        events: Sequence[Event],
        digests: Mapping[str, str],
        states: Mapping[str, UserState],
        last_us: int,
        config: EventsConfig,
    ) -> "Group":
        """Decides about events.

        Args:
            digests: By event id, the digests of the events that were accepted before.
            states: By user key, the states before.
            last_us: When the last event before was accepted. Later ones get higher times, even if the clock goes back.
        """
        known, by_user = dict(digests), dict[str, list[tuple[Event, int]]]()
        outcomes, logged, ids, kept_out = [], [], [], []
        received_us = max(time.time_ns() // 1000, last_us)
        for event in events:
            digest, key = event.digest, user_key(event.user_id)
            if (before := known.get(event.event_id)) is not None:
                outcomes.append(Outcome.duplicate if before == digest else Outcome.conflict)
                continue
            if states.get(key, EMPTY).keeps_out(event):
                outcomes.append(Outcome.forgotten)
                known[event.event_id] = digest
                kept_out.append((event.event_id, digest, received_us))
                continue
            received_us += 1
            known[event.event_id] = digest
            ids.append((event.event_id, digest, received_us))
            logged.append((key, event, received_us))
            by_user.setdefault(key, []).append((event, received_us))
            outcomes.append(Outcome.accepted)
        after = {
            key: states.get(key, EMPTY).with_events(added, config).encode_within(config)
            for key, added in by_user.items()
        }
        return cls(outcomes, logged, after, ids, kept_out, received_us)
