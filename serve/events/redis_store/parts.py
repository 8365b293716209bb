"""The parts of the log in Redis: one shard after the other, each noted in Redis before it is given out."""

import time
from typing import Any

import orjson

from data.sources.event_log.users import user_key
from serve.events.protocol import LoggedEvents
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

    def next(self, max_events: int) -> LoggedEvents | None:
        """The part that was begun, or else the next one; None if there is nothing to compact."""
        shards = [Shard(number) for number in range(SHARDS)]
        for shard in shards:
            if (noted := self._client.get(shard.part)) is not None:
                return self._read(shard, orjson.loads(noted))
        now_us = time.time_ns() // 1000
        firsts, with_work = {}, []
        for shard in shards:
            first, num_forgotten = self._client.eval(
                scripts.CLOSE, 3, shard.log, shard.clock, shard.forgotten, now_us
            )  # fmt: skip
            firsts[shard] = _time(first) if first else None
            if first or num_forgotten:
                with_work.append(shard)
        if not with_work:
            return None
        shard = with_work[0]
        others = [first - 1 for other, first in firsts.items() if other != shard and first is not None]
        return self._begin(shard, max_events, min([now_us, *others]))

    def done(self, name: str) -> None:
        """Drops the part of this name, unless it is dropped already."""
        shard = Shard(int(name.split("-")[0]))
        noted = self._client.get(shard.part)
        if noted is None or (values := orjson.loads(noted))["name"] != name:
            return
        users = [text for key, at in values["forgotten"].items() for text in (key, str(at))]
        keys = (shard.part, shard.log, shard.forgotten)
        self._client.eval(scripts.DONE, 3, *keys, noted, f"{values['last'] + 1}-0", *users)

    def _begin(self, shard: Shard, max_events: int, until_us: int) -> LoggedEvents:
        last = first = 0
        left, start = max_events, "-"
        while left and (entries := self._client.xrange(shard.log, start, "+", count=min(left, MANY))):
            first = first or _time(entries[0][0])
            last, left = _time(entries[-1][0]), left - len(entries)
            start = f"({entries[-1][0]}"
        rest = self._client.xrange(shard.log, f"({last}-0", "+", count=1) if last else []
        forgotten = {key: int(at) for key, at in self._client.hgetall(shard.forgotten).items()}
        noted = {
            "name": f"{shard.number}-{first}-{last}-{time.time_ns() // 1000}",
            "last": last,
            "until": min(until_us, _time(rest[0][0]) - 1) if rest else until_us,
            "forgotten": forgotten,
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
        forgotten: dict[str, int] = noted["forgotten"]
        if forgotten:
            events = [e for e in events if e["received"] > forgotten.get(user_key(e["user_id"]), -1)]
        return LoggedEvents(noted["name"], events, noted["until"], forgotten)


def _time(entry: str) -> int:
    return int(entry.split("-")[0])
