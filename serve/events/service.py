"""The user events of a replica: takes events, reads states and forgets users, without blocking the event loop."""

import asyncio
import math
import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from data.artifacts.errors import one_line
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.protocol import Outcome, StateStore, StoreUnavailable
from serve.events.state import UserState
from serve.events.stores import STATE_STORES
from serve.events.threads import GroupingThread, Overloaded

MAX_GROUP = 2000
"""Most events that are made durable in one step, and most states that are read in one."""

MAX_READS = 1000
"""Most reads that wait; requests beyond are answered without the state."""

EVENTS_LATE_S = 10.0
"""Seconds after which a call of the store that has not ended hangs."""

MAX_FORGOTTEN = 100
"""Most users that wait to be forgotten."""

NOT_AVAILABLE = "the state of users is not available now, try again"

R = TypeVar("R")


class EventsUnavailable(RuntimeError):
    """Events cannot be taken, or a user not be read or forgotten, now: to be tried again."""


class UserEvents:
    """The state store in a replica, called by a thread for writing, one for reading and one for forgetting.

    Requests that arrive while the store writes are written together by its next step, so one fsync serves many. A store
    that hangs keeps these threads, and none of those that the rest of the replica shares.
    """

    def __init__(self, config: EventsConfig, store: StateStore) -> None:
        self.config = config
        self._store = store
        self._append: GroupingThread[Event, Outcome] = GroupingThread(
            "events-append", store.append, MAX_GROUP, config.max_waiting
        )
        self._read: GroupingThread[str, UserState] = GroupingThread("events-read", store.read, MAX_GROUP, MAX_READS)
        self._forget: GroupingThread[str, int] = GroupingThread("events-forget", self._forget_now, 1, MAX_FORGOTTEN)

    @classmethod
    def of(cls, config: EventsConfig) -> "UserEvents":
        """Opens the store of the config; one that does not answer now is tried again with each call."""
        return cls(config, STATE_STORES[config.store](config))

    @property
    def is_alive(self) -> bool:
        """Whether all threads run."""
        return self._append.is_alive and self._read.is_alive and self._forget.is_alive

    @property
    def is_late(self) -> bool:
        """Whether the store has not answered one of the threads for longer than EVENTS_LATE_S."""
        return max(self._append.busy_s, self._read.busy_s) > EVENTS_LATE_S

    @property
    def num_waiting(self) -> int:
        """How many events wait to be made durable."""
        return self._append.num_waiting

    async def accept(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Makes events durable and updates their users' states; returns what became of each.

        Raises:
            EventsUnavailable: The store does not write them in time, or too many wait already. Some may be accepted
                nevertheless; they are duplicates when they are sent again.
        """
        if not events:
            return ()
        return await self._within(self._append(events), "events are not accepted now, send them again")

    async def read(self, user_id: str) -> UserState:
        """Returns the state of a user; raises what the store raises."""
        return (await self._read([user_id]))[0]

    async def read_now(self, user_id: str, within_s: float) -> UserState:
        """Returns the state of a user, and raises EventsUnavailable where the store does not say it in time.

        Args:
            within_s: Seconds that the store has, at most those that it has to accept events.
        """
        return await self._within(self.read(user_id), NOT_AVAILABLE, within_s)

    async def forget(self, user_id: str) -> int:
        """Forgets a user; returns when, in microseconds since 1970. Raises EventsUnavailable where that fails."""
        return (await self._within(self._forget([user_id]), NOT_AVAILABLE))[0]

    def _forget_now(self, user_ids: Sequence[str]) -> list[int]:
        return [self._store.forget(user_id, time.time_ns() // 1000) for user_id in user_ids]

    async def close(self) -> None:
        """Writes what waits, and closes the store."""
        await asyncio.to_thread(self._append.close)
        await asyncio.to_thread(self._read.close)
        await asyncio.to_thread(self._forget.close)
        await asyncio.to_thread(self._store.close)

    async def _within(self, call: Awaitable[R], otherwise: str, within_s: float = math.inf) -> R:
        try:
            async with asyncio.timeout(min(self.config.accept_ms / 1000, within_s)):
                return await call
        except (Overloaded, StoreUnavailable, TimeoutError) as e:
            raise EventsUnavailable(f"{otherwise}: {one_line(e) or type(e).__name__}") from e
