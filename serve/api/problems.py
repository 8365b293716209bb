"""The errors of the clients."""

from collections.abc import Mapping, Sequence
from typing import Any

EVENTS_OFF = "this endpoint keeps no events (events.store=off)"
"""How an endpoint without events begins the `detail` of its 404. Proxies answer 404 too while an endpoint starts."""


class EndpointError(ConnectionError):
    """The endpoint refused a request, failed, or cannot be reached.

    Attributes:
        status: The HTTP status; None if the endpoint did not answer.
        retry_after_s: Seconds that the endpoint asks to wait before the next attempt (with 429 and 503); None if it
            does not.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class EventsRefusedError(EndpointError):
    """The endpoint refused some events of a batch, and kept all others.

    Attributes:
        accepted, duplicates: How many of the others are new, and how many were accepted before.
        problems: What is wrong: `loc` is the place, such as ["body", "events", 3, "type"], and `msg` the reason.
    """

    def __init__(self, message: str, accepted: int, duplicates: int, problems: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message, status=422)
        self.accepted, self.duplicates = accepted, duplicates
        self.problems = problems


class EventsOffError(EndpointError):
    """The endpoint keeps no events: it takes none and knows no users, now and later."""
