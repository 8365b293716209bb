"""The parts of the log in Redis: of one shard each, noted in Redis before it is given out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from data.sources.event_log.users import user_key
from serve.events.protocol import LogEnd, LoggedEvents
from serve.events.redis_store import scripts
from serve.events.redis_store.keys import SHARDS, Shard

MANY = 10_000
"""Entries of a stream that are read in one call."""


class RedisParts:
    """Reads and drops parts.

    A part's name is `<shard>-<first>-<last>`, by the times at which its events were accepted, which are unique in a
    shard.

    Args:
        client: Of redis-py.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def end(self) -> LogEnd:
        """The time of each shard until which it is closed: what is accepted from now on has a later one."""
        return tuple(closed.clock_us for closed in self._close(list(map(Shard, range(SHARDS)))))

    def next(self, max_events: int, end: LogEnd | None = None) -> LoggedEvents | None:
        """The part that was begun, or else the next one; None if there is nothing to compact until the end.

        The shard whose work is the oldest comes first, so that none waits for others that have new work all the time.
        """
        shards = [Shard(number) for number in range(SHARDS)]
        for shard in shards:
            if (noted := self._client.get(shard.part)) is not None:
                return self._read(shard, orjson.loads(noted))
        closed = self._close(shards)
        ends = end or tuple(each.clock_us for each in closed)
        work = [
            (each.oldest_us, shard.number)
            for shard, each in zip(shards, closed, strict=True)
            if each.oldest_us is not None and each.oldest_us <= ends[shard.number]
        ]
        if not work:
            return None
        _, number = min(work)
        until_us = [each.complete_us for other, each in zip(shards, closed, strict=True) if other.number != number]
        return self._begin(shards[number], max_events, ends[number], min(until_us))

    def done(self, name: str) -> None:
        """Drops the part of this name, unless it is dropped already."""
        shard = Shard(int(name.split("-")[0]))
        noted = self._client.get(shard.part)
        if noted is None or (values := orjson.loads(noted))["name"] != name:
            return
        users = [text for key, at in values["forgotten"].items() for text in (key, str(at))]
        keys = (shard.part, shard.log, shard.forgotten)
        self._client.eval(scripts.DONE, 3, *keys, noted, f"{values['last'] + 1}-0", *users)

    def _close(self, shards: Sequence[Shard]) -> list["_Closed"]:
        now_us, closed = time.time_ns() // 1000, []
        for shard in shards:
            keys = (shard.log, shard.clock, shard.forgotten)
            first, clock, forgotten = self._client.eval(scripts.CLOSE, len(keys), *keys, now_us)
            oldest = [*([_time(first)] if first else []), *map(int, forgotten)]
            closed.append(_Closed(int(clock), min(oldest, default=None)))
        return closed

    def _begin(self, shard: Shard, max_events: int, end_us: int, until_us: int) -> LoggedEvents:
        """Notes a part and gives it out.

        Args:
            end_us: What is later is not taken.
            until_us: The time until which all other shards are complete.
        """
        last = first = 0
        left, start = max_events, "-"
        while left and (entries := self._client.xrange(shard.log, start, f"{end_us}-0", count=min(left, MANY))):
            first = first or _time(entries[0][0])
            last, left = _time(entries[-1][0]), left - len(entries)
            start = f"({entries[-1][0]}"
        rest = self._client.xrange(shard.log, f"({last}-0" if last else "-", "+", count=1)
        # The log of a user is not done before the part that has the last event from before the user was forgotten.
        bound_us = min(end_us, _time(rest[0][0]) - 1) if rest else end_us
        forgotten = {key: int(at) for key, at in self._client.hgetall(shard.forgotten).items()}
        noted = {
            "name": f"{shard.number}-{first}-{last}-{time.time_ns() // 1000}",
            "last": last,
            "until": min(until_us, bound_us),
            "forgotten": {key: at for key, at in forgotten.items() if at <= bound_us},
            "left_out": forgotten,
        }
        self._client.set(shard.part, orjson.dumps(noted), nx=True)
        return self._read(shard, orjson.loads(self._client.get(shard.part)))

    def _read(self, shard: Shard, noted: dict[str, Any]) -> LoggedEvents:
        """The events of a part, without those of users who were forgotten when it was noted."""
        events: list[dict[str, Any]] = []
        start, until = "-", f"{noted['last']}-0"
        while entries := self._client.xrange(shard.log, start, until, count=MANY):
            events += [orjson.loads(fields["e"]) for _, fields in entries]
            start = f"({entries[-1][0]}"
        left_out: dict[str, int] = noted.get("left_out", noted["forgotten"])  # earlier versions noted the one alone
        if left_out:
            events = [e for e in events if e["received"] > left_out.get(user_key(e["user_id"]), -1)]
        return LoggedEvents(noted["name"], events, noted["until"], noted["forgotten"])


@dataclass(frozen=True, slots=True)
class _Closed:
    """A shard as it was when it was closed.

    Attributes:
        clock_us: Later events have later times.
        oldest_us: The oldest time of an event, or of a forgotten user, that is not compacted; None if there is none.
    """

    clock_us: int
    oldest_us: int | None

    @property
    def complete_us(self) -> int:
        """The time until which the shard is compacted."""
        return self.clock_us if self.oldest_us is None else self.oldest_us - 1


def _time(entry: str) -> int:
    return int(entry.split("-")[0])
