"""The ids of events in Redis: each is reserved for one content, wherever its user is, before that is accepted.

A write that fails leaves a reservation without a mark. An event with other content then takes the id over: it puts its
own digest where the mark of the other one would be, in all shards but its own. A write that is still on its way finds
that, and gives way, so of two events that meet under an id one is accepted.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from data.sources.event_log.users import user_key
from serve.events.event import Event
from serve.events.redis_store.keys import SHARDS, Shard, id_key, shard_of, taker_key

TAKING_S = 60
"""Seconds for which one event alone may take over an id."""


class Reservations:
    """Reserves ids.

    Args:
        client: Of redis-py.
        plain: Options of its pipelines.
        kept_s: Seconds for which an id counts.
    """

    def __init__(self, client: Any, plain: Mapping[str, bool], kept_s: int) -> None:
        self._client, self._plain, self._kept_s = client, plain, kept_s

    def conflicts(self, events: Sequence[Event]) -> list[bool]:
        """Reserves the ids of events; returns for each whether an event with other content has its id."""
        pipeline = self._pipeline()
        digests = [event.digest for event in events]
        for event, digest in zip(events, digests, strict=True):
            pipeline.set(id_key(event.event_id), digest, nx=True, get=True, ex=self._kept_s)
        holders: dict[str, str] = {}
        others: list[Event] = []
        for event, digest, before in zip(events, digests, pipeline.execute(), strict=True):
            if event.event_id not in holders:
                holders[event.event_id] = before or digest
                if before is not None and before != digest:
                    others.append(event)
        if others:
            holders |= self._holders(others)
        return [holders[event.event_id] != digest for event, digest in zip(events, digests, strict=True)]

    def _holders(self, events: Sequence[Event]) -> dict[str, str]:
        """Of events whose ids are reserved for other content: by id, the digest of what has it, or takes it over now.

        Each step is for those events that nothing else has kept out so far.
        """
        holders = {event.event_id: event.digest for event in events}
        for step in (self._read_marks, self._begin, self._fence):
            for event, found in zip(events, step(events), strict=True):
                holders[event.event_id] = next((d for d in found if d and d != event.digest), event.digest)
            events = [event for event in events if holders[event.event_id] == event.digest]
            if not events:
                return holders
        pipeline = self._pipeline()
        for event in events:
            pipeline.set(id_key(event.event_id), event.digest, ex=self._kept_s)
        pipeline.execute()
        return holders

    def _read_marks(self, events: Sequence[Event]) -> list[list[str | None]]:
        """The marks of each event in all shards."""
        pipeline = self._pipeline()
        for event in events:
            for number in range(SHARDS):
                pipeline.get(Shard(number).mark(event.event_id))
        return _in_parts(pipeline.execute(), SHARDS)

    def _begin(self, events: Sequence[Event]) -> list[list[str | None]]:
        """Which event takes over an id at this moment: the first one that has come here."""
        pipeline = self._pipeline()
        for event in events:
            pipeline.set(taker_key(event.event_id), event.digest, nx=True, get=True, ex=TAKING_S)
        return _in_parts(pipeline.execute(), 1)

    def _fence(self, events: Sequence[Event]) -> list[list[str | None]]:
        """Marks each event in all shards but its own, and returns the marks that were there."""
        pipeline = self._pipeline()
        for event in events:
            own = shard_of(user_key(event.user_id)).number
            for number in range(SHARDS):
                if number != own:
                    mark = Shard(number).mark(event.event_id)
                    pipeline.set(mark, event.digest, nx=True, get=True, ex=self._kept_s)
        return _in_parts(pipeline.execute(), SHARDS - 1)

    def _pipeline(self) -> Any:
        return self._client.pipeline(**self._plain)


def _in_parts(found: Sequence[str | None], length: int) -> list[list[str | None]]:
    return [list(found[start : start + length]) for start in range(0, len(found), length)]
