"""A sender of events: collects events, sends them in batches, and tries again until the endpoint has taken them.

with EventSender(RecommendClient("http://127.0.0.1:8000")) as sender:
    sender.add(user_id="u00042", item_id="i00007", type="click")
"""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from serve.api.events.schemas import EventsResponse
from serve.api.events.unsent import EventsNotSent, UnsentEvents, WireEvent


class SendsEvents(Protocol):
    """The part of `RecommendClient` that is used here."""

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse: ...


class SendsEventsAsync(Protocol):
    """The part of `AsyncRecommendClient` that is used here."""

    async def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse: ...


class EventSender:
    """Sends events in batches from a thread. `add` returns at once; `close` returns when all events are taken.

    The latest events that the endpoint refuses are in `refused`, each with its `problem`, and `num_refused` counts all
    of them: all, where it keeps no events. An event is taken once, however often it is sent, because each has an id.
    Whatever else makes an attempt fail, the batch is sent again.

    Args:
        client: Sends to the endpoint. The sender does not close it.
        batch: Most events in one request.
        every_s: Seconds after which a batch is sent that is not full.
        max_waiting: Most events that wait; `add` raises SenderFull beyond.
    """

    def __init__(self, client: SendsEvents, batch: int = 100, every_s: float = 0.2, max_waiting: int = 100_000) -> None:
        self._client, self._every_s = client, every_s
        self._unsent = UnsentEvents(batch, max_waiting)
        self._wake = threading.Condition()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-sender", daemon=True)
        self._thread.start()

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The latest 10,000 events that the endpoint has refused, each with its `problem`."""
        with self._wake:
            return list(self._unsent.refused)

    @property
    def num_refused(self) -> int:
        """How many events the endpoint has refused."""
        return self._unsent.num_refused

    def add(self, **fields: Any) -> str:
        """Adds an event by the fields of `serve.api.events.schemas.EventRequest`; returns its id.

        The id is a new one and the time is now, unless they are given.

        Raises:
            SenderFull: Too many events wait.
            RuntimeError: The sender is closed.
            pydantic.ValidationError: The event breaks a limit; it is not added.
        """
        with self._wake:
            event_id = self._unsent.add(fields)
            if self._unsent.is_batch:
                self._wake.notify()
            return event_id

    def close(self, timeout_s: float = 30.0) -> None:
        """Sends all that waits, at once and until `timeout_s` seconds have passed.

        An attempt that has begun by then is waited for; the timeout of the client bounds it.

        Raises:
            EventsNotSent: The endpoint has not taken all events in this time; the error holds the rest.
        """
        with self._wake:
            self._unsent.ends = time.monotonic() + timeout_s
            self._closed.set()
            self._wake.notify()
        self._thread.join()
        if self._unsent.events:
            raise EventsNotSent(self._unsent.events, self._unsent.error) from self._unsent.error

    def __enter__(self) -> "EventSender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._closed.is_set() and not self._unsent.is_batch:
                    self._wake.wait(self._every_s)
                batch, is_closed = self._unsent.next(), self._closed.is_set()
            if not batch:
                if is_closed:
                    return
                continue
            error = self._attempt(batch)
            with self._wake:
                wait_s = self._unsent.record_outcome(batch, error)
            if self._unsent.is_over or not self._pause(wait_s):
                return

    def _attempt(self, batch: list[WireEvent]) -> Exception | None:
        """Sends a batch; returns why it was not taken whole.

        What the client raises does not end the thread, since nobody would send the events that are added afterwards;
        `close` tells the last error.
        """
        try:
            self._client.send_events(batch)
        except Exception as e:
            return e
        return None

    def _pause(self, wait_s: float) -> bool:
        """Waits before the next attempt, or until the sender is closed; returns whether there is time for one."""
        if self._closed.is_set():
            time.sleep(self._unsent.wait_of_closed_s(wait_s))
            return not self._unsent.is_over
        if wait_s:
            self._closed.wait(wait_s)
        return True


class AsyncEventSender:
    """`EventSender` for asyncio, by a task of the running event loop: `async with AsyncEventSender(client)`."""

    def __init__(
        self, client: SendsEventsAsync, batch: int = 100, every_s: float = 0.2, max_waiting: int = 100_000
    ) -> None:
        self._client, self._every_s = client, every_s
        self._unsent = UnsentEvents(batch, max_waiting)
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def refused(self) -> list[dict[str, Any]]:
        """See EventSender."""
        return list(self._unsent.refused)

    @property
    def num_refused(self) -> int:
        """See EventSender."""
        return self._unsent.num_refused

    def add(self, **fields: Any) -> str:
        """See EventSender."""
        event_id = self._unsent.add(fields)
        if self._unsent.is_batch:
            self._wake.set()
        return event_id

    async def close(self, timeout_s: float = 30.0) -> None:
        """See EventSender. The error holds the events also where the task of the sender was cancelled."""
        self._unsent.ends = time.monotonic() + timeout_s
        self._closed.set()
        self._wake.set()
        await asyncio.wait([self._task])
        ended = None if self._task.cancelled() else self._task.exception()
        if self._unsent.events:
            error = ended or self._unsent.error
            raise EventsNotSent(self._unsent.events, error) from error
        if ended is not None:
            raise ended

    async def __aenter__(self) -> "AsyncEventSender":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            if not self._closed.is_set() and not self._unsent.is_batch:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._every_s)
            self._wake.clear()
            batch = self._unsent.next()
            if not batch:
                if self._closed.is_set():
                    return
                continue
            wait_s = self._unsent.record_outcome(batch, await self._attempt(batch))
            if self._unsent.is_over or not await self._pause(wait_s):
                return

    async def _attempt(self, batch: list[WireEvent]) -> Exception | None:
        """See EventSender."""
        try:
            await self._client.send_events(batch)
        except Exception as e:
            return e
        return None

    async def _pause(self, wait_s: float) -> bool:
        """See EventSender."""
        if self._closed.is_set():
            await asyncio.sleep(self._unsent.wait_of_closed_s(wait_s))
            return not self._unsent.is_over
        if wait_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), wait_s)
        return True
