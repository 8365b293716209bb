"""The state store in Redis.

An event is accepted in two steps. First its id is reserved with the digest of its content, wherever its user is; then
one script writes the user's state and the log, if nobody has changed the state meanwhile. A crash between the two
leaves a reservation, with which the same event is accepted when it is sent again; one with other content takes it over
(reservations.py).
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from data.artifacts.secrets import recordable
from data.sources.event_log.users import user_key
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.group import Group
from serve.events.protocol import LogEnd, LoggedEvents, Outcome, StoreUnavailable
from serve.events.redis_store import scripts
from serve.events.redis_store.connection import check_durability, connect, translated
from serve.events.redis_store.keys import SHARDS, Shard, note_key, shard_of
from serve.events.redis_store.parts import RedisParts
from serve.events.redis_store.reservations import Reservations
from serve.events.state import UserState

ATTEMPTS = 20
"""Times that a group is written while other replicas change the same users."""

MANY = 1000
"""Users of whom a store is told at a time that they were forgotten."""

BEFORE, AFTER = UserState(forgotten_us=0).encode().decode().rsplit("0", 1)
"""The state of a forgotten user, before and after the time in it."""


class RedisStore:
    """See serve/events/protocol.py. Reads and writes have clients of their own, with time-outs of their own."""

    def __init__(self, config: EventsConfig) -> None:
        self._config = config
        self._timeouts = {"read": config.state_ms / 1000, "write": config.accept_ms / 1000}
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        """See StateStore."""
        outcomes: dict[int, Outcome] = {}
        with translated(self._config.uri):
            client = self._client("write")
            reservations = Reservations(client, self._plain, self._ids_kept_s)
            for place, conflict in enumerate(reservations.conflicts(events)):
                if conflict:
                    outcomes[place] = Outcome.conflict
            for _ in range(ATTEMPTS):
                left = [place for place in range(len(events)) if place not in outcomes]
                if not left:
                    break
                outcomes |= self._attempt(client, {place: events[place] for place in left})
        if len(outcomes) < len(events):
            raise StoreUnavailable(
                f"events.uri: {recordable(self._config.uri)}: other replicas write to the same users all the time"
            )
        return [outcomes[place] for place in range(len(events))]

    def read(self, user_ids: Sequence[str]) -> list[UserState]:
        """See StateStore."""
        keys = [user_key(user_id) for user_id in user_ids]
        with translated(self._config.uri):
            client = self._client("read")
            if len(keys) == 1:
                return [UserState.decode(client.get(shard_of(keys[0]).user(keys[0])))]
            pipeline = client.pipeline(**self._plain)
            for key in keys:
                pipeline.get(shard_of(key).user(key))
            return [UserState.decode(encoded) for encoded in pipeline.execute()]

    def forget(self, user_id: str, now_us: int) -> int:
        """See StateStore. Events in the log are left out when they are compacted."""
        key = user_key(user_id)
        shard = shard_of(key)
        with translated(self._config.uri):
            keys = (shard.user(key), shard.clock, shard.forgotten)
            return int(self._client("write").eval(scripts.FORGET, len(keys), *keys, key, now_us, BEFORE, AFTER))

    def keep_out(self, forgotten: Mapping[str, int]) -> None:
        """See StateStore. The next compaction removes what users whose states are replaced did before."""
        users = list(forgotten.items())
        with translated(self._config.uri):
            for start in range(0, len(users), MANY):
                pipeline = self._client("write").pipeline(**self._plain)
                for key, at in users[start : start + MANY]:
                    keys = (shard_of(key).user(key), shard_of(key).forgotten)
                    pipeline.execute_command("EVAL", scripts.KEEP_OUT, len(keys), *keys, key, at, BEFORE, AFTER)
                pipeline.execute()

    def end(self) -> LogEnd:
        """See StateStore."""
        with translated(self._config.uri):
            return RedisParts(self._client("write")).end()

    def part(self, max_events: int, end: LogEnd | None = None) -> LoggedEvents | None:
        """See StateStore."""
        with translated(self._config.uri):
            return RedisParts(self._client("write")).next(max_events, end)

    def done(self, part: LoggedEvents) -> None:
        """See StateStore."""
        with translated(self._config.uri):
            RedisParts(self._client("write")).done(part.name)

    def prune(self, before_us: int) -> None:
        """Does nothing: ids expire by themselves."""

    def noted(self, name: str) -> str | None:
        """See StateStore."""
        with translated(self._config.uri):
            found: str | None = self._client("write").get(note_key(name))
            return found

    def note(self, name: str, value: str, *, replaces: bool = True) -> str:
        """See StateStore."""
        with translated(self._config.uri):
            self._client("write").set(note_key(name), value, nx=not replaces)
            return str(self._client("write").get(note_key(name)))

    def num_waiting(self) -> int:
        """See StateStore."""
        with translated(self._config.uri):
            client = self._client("write")
            return sum(int(client.xlen(Shard(number).log)) for number in range(SHARDS))

    def close(self) -> None:
        """See StateStore."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    @property
    def _ids_kept_s(self) -> int:
        return int((self._config.max_age_days + 1) * 86_400)

    @property
    def _plain(self) -> dict[str, bool]:
        """Options of pipelines: no transaction, which a cluster does not have."""
        return {} if self._config.cluster else {"transaction": False}

    def _client(self, use: str) -> Any:
        with self._lock:
            if use not in self._clients:
                client = connect(self._config, self._timeouts[use])
                if use == "write" and self._config.check_durability:
                    check_durability(client, self._config.uri)
                self._clients[use] = client
            return self._clients[use]

    def _attempt(self, client: Any, events: dict[int, Event]) -> dict[int, Outcome]:
        """Decides about events and writes them, user by user; returns the outcomes of those users who were written."""
        by_user: dict[str, list[int]] = {}
        for place, event in events.items():
            by_user.setdefault(user_key(event.user_id), []).append(place)
        pipeline = client.pipeline(**self._plain)
        for key, places in by_user.items():
            shard = shard_of(key)
            pipeline.get(shard.user(key))
            pipeline.get(shard.clock)
            for place in places:
                pipeline.get(shard.mark(events[place].event_id))
        found = iter(pipeline.execute())
        outcomes: dict[int, Outcome] = {}
        writing, groups = client.pipeline(**self._plain), {}
        clocks: dict[int, int] = {}
        for key, places in by_user.items():
            shard, before = shard_of(key), next(found)
            clocks[shard.number] = max(clocks.get(shard.number, 0), int(next(found) or 0))
            of_user = [events[place] for place in places]
            known = {e.event_id: digest for e in of_user if (digest := next(found)) is not None}
            states = {} if before is None else {key: UserState.decode(before)}
            group = Group.of(of_user, known, states, clocks[shard.number], self._config)
            clocks[shard.number] = group.received_us
            if group.logged:
                groups[key] = group
                _write(writing, key, before, group, self._ids_kept_s)
            else:
                outcomes |= dict(zip(places, group.outcomes, strict=True))
        for (key, group), written in zip(groups.items(), writing.execute() if groups else (), strict=True):
            if written:
                outcomes |= dict(zip(by_user[key], group.outcomes, strict=True))
        self._mark(client, [events[place] for place, outcome in outcomes.items() if outcome is Outcome.forgotten])
        return outcomes

    def _mark(self, client: Any, events: Sequence[Event]) -> None:
        """Marks events that are kept out as known. They are kept out for good, whatever becomes of their users."""
        if events:
            pipeline = client.pipeline(**self._plain)
            for event in events:
                mark = shard_of(user_key(event.user_id)).mark(event.event_id)
                pipeline.set(mark, event.digest, ex=self._ids_kept_s)
            pipeline.execute()


def _write(pipeline: Any, key: str, before: str | None, group: Group, ids_kept_s: int) -> None:
    shard = shard_of(key)
    keys = [shard.user(key), shard.log, shard.clock, *(shard.mark(id_) for id_, _, _ in group.ids)]
    values: list[Any] = [before or "", group.states[key], ids_kept_s]
    for (_, event, received_us), (_, digest, _) in zip(group.logged, group.ids, strict=True):
        values += [received_us, orjson.dumps(event.as_json(received_us)), digest]
    pipeline.execute_command("EVAL", scripts.APPEND, len(keys), *keys, *values)  # clusters have no pipeline.eval
