"""A sender of events: collects events, sends them in batches, and tries again until the endpoint has taken them.

with EventSender(RecommendClient("http://127.0.0.1:8000")) as sender:
    sender.add(user_id="u00042", item_id="i00007", type="click")
"""

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from pydantic_core import to_json

from serve.api.events.schemas import EventRequest, EventsResponse
from serve.api.limits import MAX_EVENTS
from serve.api.problems import EndpointError, EventsRefusedError

RETRY_S = (0.1, 5.0)
"""Seconds before the second attempt, doubled with each further one, and at most."""

TOO_LARGE = 413
"""The HTTP status for a body that is too large."""

WireEvent = dict[str, Any]


class EventsNotSent(ConnectionError):
    """The endpoint did not take all events in time.

    Attributes:
        events: Those that were not taken, as fields of `serve.api.events.schemas.EventRequest`.
    """

    def __init__(self, events: Sequence[WireEvent]) -> None:
        super().__init__(f"{len(events)} events were not taken by the endpoint; they are in `events` of this error")
        self.events = list(events)


class SenderFull(RuntimeError):
    """As many events wait as the sender may hold: the endpoint takes them more slowly than they come."""


class SendsEvents(Protocol):
    """The part of `RecommendClient` that is used here."""

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse: ...


class SendsEventsAsync(Protocol):
    """The part of `AsyncRecommendClient` that is used here."""

    async def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse: ...


class _Waiting:
    """What waits to be sent, the oldest first, and what was refused."""

    def __init__(self, batch: int, max_waiting: int) -> None:
        if not 1 <= batch <= MAX_EVENTS <= max_waiting:
            raise ValueError(f"batch: {batch} must be 1 to {MAX_EVENTS}, and max_waiting ({max_waiting}) at least that")
        self.batch, self.max_waiting = batch, max_waiting
        self.events: deque[WireEvent] = deque()
        self.refused: list[dict[str, Any]] = []
        self._pause_s = RETRY_S[0]

    def add(self, fields: dict[str, Any]) -> str:
        if len(self.events) >= self.max_waiting:
            raise SenderFull(f"{len(self.events)} events wait already: the endpoint does not take them")
        event = {"event_id": uuid.uuid4().hex, "time": time.time()} | fields
        self.events.append(EventRequest.model_validate_json(to_json(event)).model_dump(mode="json", exclude_unset=True))
        return str(event["event_id"])

    def next(self) -> list[WireEvent]:
        return [self.events[place] for place in range(min(self.batch, len(self.events)))]

    def record_outcome(self, batch: Sequence[WireEvent], error: EndpointError | None) -> float:
        """Records the outcome of a batch that was sent; returns the seconds to wait before the next attempt."""
        if error is None or isinstance(error, EventsRefusedError):
            for _ in batch:
                self.events.popleft()
            for problem in () if error is None else error.problems:
                of = [batch[int(problem["loc"][2])]] if len(problem["loc"]) > 2 else batch  # or the batch as a whole
                self.refused.extend({**event, "problem": problem["msg"]} for event in of)
            self._pause_s = RETRY_S[0]
            return 0.0
        if error.status == TOO_LARGE:
            self.batch = max(self.batch // 2, 1)
        wait_s = error.retry_after_s or self._pause_s
        self._pause_s = min(2 * self._pause_s, RETRY_S[1])
        return wait_s


def _until(ends: float | None, wait_s: float) -> float:
    """`wait_s` seconds, or what is left of them where the sender is to end at `ends`."""
    return wait_s if ends is None else max(min(wait_s, ends - time.monotonic()), 0.0)


class EventSender:
    """Sends events in batches from a thread. `add` returns at once; `close` returns when all events are taken.

    Events that the endpoint refuses are in `refused`, with the `problem`. An event is taken once, however often it is
    sent, because each has an id.

    Args:
        client: Sends to the endpoint. The sender does not close it.
        batch: Most events in one request.
        every_s: Seconds after which a batch is sent that is not full.
        max_waiting: Most events that wait; `add` raises SenderFull beyond.
    """

    def __init__(self, client: SendsEvents, batch: int = 100, every_s: float = 0.2, max_waiting: int = 100_000) -> None:
        self._client, self._every_s = client, every_s
        self._waiting = _Waiting(batch, max_waiting)
        self._wake = threading.Condition()
        self._ends: float | None = None
        self._thread = threading.Thread(target=self._run, name="event-sender", daemon=True)
        self._thread.start()

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The events that the endpoint has refused, each with its `problem`."""
        return self._waiting.refused

    def add(self, **fields: Any) -> str:
        """Adds an event by the fields of `serve.api.events.schemas.EventRequest`; returns its id.

        The id is a new one and the time is now, unless they are given.

        Raises:
            SenderFull: Too many events wait.
            RuntimeError: The sender is closed.
            pydantic.ValidationError: The event breaks a limit; it is not added.
        """
        with self._wake:
            if self._ends is not None:
                raise RuntimeError("the sender is closed")
            event_id = self._waiting.add(fields)
            if len(self._waiting.events) >= self._waiting.batch:
                self._wake.notify()
            return event_id

    def close(self, timeout_s: float = 30.0) -> None:
        """Sends all that waits.

        Raises:
            EventsNotSent: The endpoint has not taken all events within `timeout_s` seconds; the error holds the rest.
        """
        with self._wake:
            self._ends = time.monotonic() + timeout_s
            self._wake.notify()
        self._thread.join()
        if self._waiting.events:
            raise EventsNotSent(self._waiting.events)

    def __enter__(self) -> "EventSender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._ends is None and len(self._waiting.events) < self._waiting.batch:
                    self._wake.wait(self._every_s)
                batch, ends = self._waiting.next(), self._ends
            if ends is not None and (not batch or time.monotonic() > ends):
                return
            if not batch:
                continue
            error = self._attempt(batch)
            with self._wake:
                wait_s = self._waiting.record_outcome(batch, error)
            if wait_s:
                time.sleep(_until(self._ends, wait_s))

    def _attempt(self, batch: list[WireEvent]) -> EndpointError | None:
        """Sends a batch; returns why it was not taken whole."""
        try:
            self._client.send_events(batch)
        except EndpointError as e:
            return e
        return None


class AsyncEventSender:
    """`EventSender` for asyncio, by a task of the running event loop: `async with AsyncEventSender(client)`."""

    def __init__(
        self, client: SendsEventsAsync, batch: int = 100, every_s: float = 0.2, max_waiting: int = 100_000
    ) -> None:
        self._client, self._every_s = client, every_s
        self._waiting = _Waiting(batch, max_waiting)
        self._wake = asyncio.Event()
        self._ends: float | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def refused(self) -> list[dict[str, Any]]:
        """See EventSender."""
        return self._waiting.refused

    def add(self, **fields: Any) -> str:
        """See EventSender."""
        if self._ends is not None:
            raise RuntimeError("the sender is closed")
        event_id = self._waiting.add(fields)
        if len(self._waiting.events) >= self._waiting.batch:
            self._wake.set()
        return event_id

    async def close(self, timeout_s: float = 30.0) -> None:
        """See EventSender."""
        self._ends = time.monotonic() + timeout_s
        self._wake.set()
        await self._task
        if self._waiting.events:
            raise EventsNotSent(self._waiting.events)

    async def __aenter__(self) -> "AsyncEventSender":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            if self._ends is None and len(self._waiting.events) < self._waiting.batch:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._every_s)
            self._wake.clear()
            batch = self._waiting.next()
            if self._ends is not None and (not batch or time.monotonic() > self._ends):
                return
            if not batch:
                continue
            if wait_s := self._waiting.record_outcome(batch, await self._attempt(batch)):
                await asyncio.sleep(_until(self._ends, wait_s))

    async def _attempt(self, batch: list[WireEvent]) -> EndpointError | None:
        """See EventSender."""
        try:
            await self._client.send_events(batch)
        except EndpointError as e:
            return e
        return None
