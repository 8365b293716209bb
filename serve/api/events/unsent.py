"""The events that a sender holds until the endpoint has taken them, and when it is to try again."""

import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from serve.api.events.schemas import EventRequest
from serve.api.limits import MAX_EVENTS
from serve.api.problems import EndpointError, EventsOffError, EventsRefusedError

RETRY_S = (0.1, 5.0)
"""Seconds before the second attempt, doubled with each further one, and at most."""

MAX_WAIT_S = 60.0
"""Most seconds before the next attempt, whatever the endpoint asks for."""

MAX_REFUSED = 10_000
"""Most refused events that are kept, the latest ones; a sender may live as long as its service."""

TOO_LARGE = 413
"""The HTTP status for a body that is too large."""

WireEvent = dict[str, Any]


class EventsNotSent(ConnectionError):
    """The endpoint did not take all events in time.

    Attributes:
        events: Those that were not taken, as fields of `serve.api.events.schemas.EventRequest`.
    """

    def __init__(self, events: Sequence[WireEvent], error: BaseException | None = None) -> None:
        why = "" if error is None else f" ({str(error) or type(error).__name__})"
        super().__init__(
            f"{len(events)} events were not taken by the endpoint{why}; they are in `events` of this error"
        )
        self.events = list(events)


class SenderFull(RuntimeError):
    """As many events wait as the sender may hold: the endpoint takes them more slowly than they come."""


class UnsentEvents:
    """What waits to be sent, the oldest first, what was refused, and until when there is time to send.

    Attributes:
        refused: The latest events that the endpoint refused, each with its `problem`.
        num_refused: How many it refused in all.
        ends: When a sender that is closed stops trying, by `time.monotonic`; None while it is open.
        error: Why the last attempt failed; None if it did not.
    """

    def __init__(self, batch: int, max_waiting: int) -> None:
        if not 1 <= batch <= MAX_EVENTS <= max_waiting:
            raise ValueError(f"batch: {batch} must be 1 to {MAX_EVENTS}, and max_waiting ({max_waiting}) at least that")
        self.batch, self.max_waiting = batch, max_waiting
        self.events: deque[WireEvent] = deque()
        self.refused: deque[dict[str, Any]] = deque(maxlen=MAX_REFUSED)
        self.num_refused = 0
        self.ends: float | None = None
        self.error: Exception | None = None
        self._pause_s = RETRY_S[0]

    @property
    def is_batch(self) -> bool:
        """Whether a full batch waits."""
        return len(self.events) >= self.batch

    @property
    def is_over(self) -> bool:
        """Whether the time to send is over."""
        return self.ends is not None and time.monotonic() >= self.ends

    def add(self, fields: dict[str, Any]) -> str:
        """Adds an event, and returns its id; see `EventSender.add`."""
        if self.ends is not None:
            raise RuntimeError("the sender is closed")
        if len(self.events) >= self.max_waiting:
            why = "" if self.error is None else f" ({self.error})"
            raise SenderFull(
                f"{len(self.events)} events wait already: the endpoint does not take them{why}"
            ) from self.error
        event = {"event_id": uuid.uuid4().hex, "time": time.time()} | fields
        self.events.append(EventRequest.model_validate_json(to_json(event)).model_dump(mode="json", exclude_unset=True))
        return str(event["event_id"])

    def next(self) -> list[WireEvent]:
        """The events that are to be sent next, which stay here until it is recorded that they were."""
        return [self.events[place] for place in range(min(self.batch, len(self.events)))]

    def record_outcome(self, batch: Sequence[WireEvent], error: Exception | None) -> float:
        """Records the outcome of a batch that was sent; returns the seconds to wait before the next attempt."""
        if error is None or isinstance(error, EventsRefusedError | EventsOffError):
            problems = () if error is None else _problems(error)
            found = [(event, problem["msg"]) for problem in problems for event in _at(problem["loc"], batch)]
            self.refused.extend({**event, "problem": said} for event, said in found)
            self.num_refused += len({event["event_id"] for event, _ in found})
            for _ in batch:
                self.events.popleft()
            self._pause_s, self.error = RETRY_S[0], None
            return 0.0
        self.error, asked_s = error, None
        if isinstance(error, EndpointError):
            asked_s = error.retry_after_s
            if error.status == TOO_LARGE:
                self.batch = max(self.batch // 2, 1)
        wait_s = min(asked_s or self._pause_s, MAX_WAIT_S)
        self._pause_s = min(2 * self._pause_s, RETRY_S[1])
        return wait_s

    def wait_of_closed_s(self, wait_s: float) -> float:
        """Seconds to wait before the next attempt where the sender is closed: the last attempt is just before its end.

        Without time for a further attempt these are the seconds until the end.
        """
        left_s = (self.ends or 0.0) - time.monotonic()
        return max(min(wait_s, left_s - RETRY_S[0] if left_s > RETRY_S[0] else left_s), 0.0)


def _at(place: Sequence[str | int], batch: Sequence[WireEvent]) -> Sequence[WireEvent]:
    """The event at a place of the body, such as body, events, 3; the whole batch where the place names no event."""
    number = place[2] if len(place) > 2 else None
    return [batch[number]] if isinstance(number, int) and 0 <= number < len(batch) else batch


def _problems(error: EventsRefusedError | EventsOffError) -> Sequence[Mapping[str, Any]]:
    """What is wrong with events of a batch; with all of them where the endpoint keeps none."""
    return error.problems if isinstance(error, EventsRefusedError) else [{"loc": [], "msg": str(error)}]
