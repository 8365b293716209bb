"""The keys in Redis. Braces name the shard: Redis Cluster keeps keys with the same text in braces on one node."""

from dataclasses import dataclass

SHARDS = 16
"""Shards of users; each has a log of its own. A constant, since keys depend on it."""

PREFIX = "twotower"


def id_key(event_id: str) -> str:
    """Where the digest of an event's content is, whoever its user is."""
    return f"{PREFIX}:id:{event_id}"


def taker_key(event_id: str) -> str:
    """Where the digest of an event is that takes over an id, because nothing was accepted under it."""
    return f"{PREFIX}:taker:{event_id}"


def note_key(name: str) -> str:
    """Where something is noted about the store."""
    return f"{PREFIX}:note:{name}"


def shard_of(user_key: str) -> "Shard":
    """The shard of a user."""
    return Shard(int(user_key[:4], 16) % SHARDS)


@dataclass(frozen=True, slots=True)
class Shard:
    """The keys of one shard."""

    number: int

    def user(self, user_key: str) -> str:
        """The state of a user."""
        return f"{self._tag}:user:{user_key}"

    def mark(self, event_id: str) -> str:
        """Whether an event is in the log and in its user's state, or else none of this id may come there any more."""
        return f"{self._tag}:event:{event_id}"

    @property
    def log(self) -> str:
        """The stream of accepted events; the number of an entry is when it was accepted."""
        return f"{self._tag}:log"

    @property
    def clock(self) -> str:
        """When the last event was accepted: later ones get higher times."""
        return f"{self._tag}:clock"

    @property
    def forgotten(self) -> str:
        """Users who are to be removed from the event log, and when they were forgotten."""
        return f"{self._tag}:forgotten"

    @property
    def part(self) -> str:
        """The part of the log that is being compacted."""
        return f"{self._tag}:part"

    @property
    def _tag(self) -> str:
        return f"{{{PREFIX}:{self.number}}}"
