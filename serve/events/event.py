"""One event: what a user did with an item, and when."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from data.sources.event_log.files import MICROS as MICROS


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event, checked.

    Attributes:
        event_id: The sender's id of the event: the same event that is sent again counts once.
        user_id, item_id: External ids.
        type: The name of one of the types in the config.
        time_us: When it happened.
        value: A number that belongs to the event, such as a price; None if there is none.
        context: Properties of the moment, such as its channel.
        request_id: The id of the answer that showed the item; None if there is none.
        is_timed: Whether the sender named the time; otherwise it is that of the arrival.
    """

    event_id: str
    user_id: str
    item_id: str
    type: str
    time_us: int
    value: float | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    is_timed: bool = True

    @property
    def digest(self) -> str:
        """32 hexadecimal digits: events with the same content have the same, whenever they arrive."""
        time_us = self.time_us if self.is_timed else None
        values = [self.user_id, self.item_id, self.type, time_us, self.value, self.context, self.request_id]
        return hashlib.blake2b(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

    def as_json(self, received_us: int) -> dict[str, object]:
        """The event as JSON values with the names of the columns of the event log."""
        return {
            "event_id": self.event_id,
            "user_id": self.user_id,
            "item_id": self.item_id,
            "type": self.type,
            "time": self.time_us,
            "value": self.value,
            "context": dict(self.context),
            "request_id": self.request_id,
            "received": received_us,
        }
