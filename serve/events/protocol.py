"""The state store protocol: where events are made durable, and the state of users is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from data.artifacts.errors import UserError
from serve.events.event import Event
from serve.events.state import UserState


class Outcome(Enum):
    """What became of an event that was given to a store."""

    accepted = "accepted"  # durable, and part of the user's state
    duplicate = "duplicate"  # an event of this id and content was accepted, or forgotten, before
    conflict = "conflict"  # an event of this id with other content was given before: this one is not kept
    forgotten = "forgotten"  # it happened before the user was forgotten: nothing of it is kept but its id


class StoreUnavailable(UserError, OSError):
    """The store cannot be reached, does not answer in time, or cannot write."""


LogEnd = tuple[int, ...]
"""Where the log of accepted events ends at a moment. What its numbers mean is the store's own."""


@dataclass(frozen=True, slots=True)
class LoggedEvents:
    """Accepted events that are to be compacted into the event log.

    Attributes:
        name: Of this part of the log. The same part always has the same name and the same events, until it is `done`.
        events: JSON values as `Event.as_json` gives them, in the order in which they were accepted.
        until_us: All events that were accepted until then are in this part or in an earlier one, and so are all users
            who were forgotten until then.
        forgotten: Users whose events are to be removed from the log: when they were forgotten, by `user_key`.
    """

    name: str
    events: Sequence[Mapping[str, Any]]
    until_us: int
    forgotten: Mapping[str, int]


class StateStore(Protocol):
    """Keeps accepted events until they are compacted, and the state of each user.

    All methods block, and raise StoreUnavailable where the store does not answer or cannot write; threads may call them
    at the same time, and so may other processes and machines.
    """

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        """Makes events durable and updates the states of their users, all in one step.

        When it returns, or a crash follows, each accepted event is in the log and in the state of its user. After an
        error it may be so: sent again, it is then a duplicate.
        """
        ...

    def read(self, user_ids: Sequence[str]) -> list[UserState]:
        """The states of users, in this order; empty ones of users without events."""
        ...

    def forget(self, user_id: str, now_us: int) -> int:
        """Removes the state of a user and the events that are not compacted yet, and keeps earlier events out.

        Returns:
            When the user was forgotten: now, and later than any event that was accepted, and than any `end`.
        """
        ...

    def keep_out(self, forgotten: Mapping[str, int]) -> None:
        """Takes over who was forgotten at another store: states from before are replaced, and earlier events kept out.

        A user of whom this store knows that, or of whom it knows a later time, stays as is.

        Args:
            forgotten: When users were forgotten, in microseconds since 1970, by `user_key`.
        """
        ...

    def end(self) -> LogEnd:
        """The end of the log as it is now. What is accepted, or forgotten, from now on comes after it."""
        ...

    def part(self, max_events: int, end: LogEnd | None = None) -> LoggedEvents | None:
        """The next part of the log that is not compacted yet; None if there is nothing to do.

        A part that was begun before and is not `done` comes again, as it was.

        Args:
            end: What comes after this end is left for later; None takes the end as it is now.
        """
        ...

    def done(self, part: LoggedEvents) -> None:
        """A part is in the event log: the store need not keep its events any more."""
        ...

    def prune(self, before_us: int) -> None:
        """Drops the ids of events that were accepted before this time."""
        ...

    def noted(self, name: str) -> str | None:
        """What is noted about the store under a name; None if nothing is."""
        ...

    def note(self, name: str, value: str, *, replaces: bool = True) -> str:
        """Notes something about the store under a name, for all who open it; returns what is noted there then.

        Args:
            replaces: Whether it takes the place of what is noted there already.
        """
        ...

    def num_waiting(self) -> int:
        """The number of accepted events that are not compacted yet."""
        ...

    def close(self) -> None:
        """Closes files and connections."""
        ...
