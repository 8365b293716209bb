"""The JSON of events and of what is known of a user; like serve/api/schemas.py, it needs pydantic alone."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from serve.api.limits import MAX_EVENTS
from serve.api.schemas import Id

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""An id or a value without control characters, and without white space around it, as in the log."""

ContextName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]

MAX_VALUE = 1e12
"""The largest value of an event, whatever its sign."""

EVENT_EXAMPLE: dict[str, Any] = {
    "event_id": "7f8a2c1e-0001",
    "user_id": "u00042",
    "item_id": "i00007",
    "type": "purchase",
    "value": 12.5,
    "context": {"daypart": "evening"},
}


class EventRequest(BaseModel):
    """One event: what a user did with an item."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EVENT_EXAMPLE]})

    event_id: Text = Field(description="Your id of the event. Sent again with the same content, it counts once.")
    user_id: Text
    item_id: Text = Field(description="The item, which need not be in the live release.")
    type: Text = Field(description="One of the types in the config of the endpoint, such as purchase.")
    time: Annotated[float, Field(allow_inf_nan=False)] | AwareDatetime | None = Field(
        None, description="When it happened: unix seconds, or ISO 8601 with a zone; left out, it is now."
    )
    value: float | None = Field(None, ge=-MAX_VALUE, le=MAX_VALUE, allow_inf_nan=False)
    context: dict[ContextName, Text] = Field({}, max_length=16, description="Properties of the moment.")
    request_id: Text | None = Field(None, description="The request_id of the answer that showed the item.")


class EventsRequest(BaseModel):
    """Several events. Each is accepted or refused by itself."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"events": [EVENT_EXAMPLE]}]}
    )

    events: list[EventRequest] = Field(min_length=1, max_length=MAX_EVENTS)


class EventsResponse(BaseModel):
    """What became of events. Accepted ones are durable, and part of the next answer."""

    accepted: int
    duplicates: int = Field(description="events that were accepted before, with the same id and content")


class EventProblem(BaseModel):
    """What is wrong with one field of one event."""

    type: str
    loc: list[str | int] = Field(description="the place, such as body, events, 3, type")
    msg: str


class EventsRefused(EventsResponse):
    """The answer where some events are refused. The others are told apart and kept."""

    detail: list[EventProblem]


class UserRequest(BaseModel):
    """A question about a user, who may be unknown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: Id


class KnownEvent(BaseModel):
    """An event in the state of a user."""

    item_id: str
    type: str
    time: AwareDatetime
    value: float | None
    context: dict[str, str]


class TypeCount(BaseModel):
    """How often a user caused events of one type."""

    total: int
    decayed: float = Field(description="the number where one of `events.half_life_days` ago counts half")
    last: AwareDatetime


class UserResponse(BaseModel):
    """What is known of a user."""

    user_id: str
    events: list[KnownEvent] = Field(description="the latest events, oldest first")
    seen: list[str] = Field(description="items that are left out of answers because of events")
    counts: dict[str, TypeCount]
    forgotten: AwareDatetime | None = Field(description="when the user was forgotten last")
    release_id: str
    release_history: list[str] = Field(description="the latest items of the history that the live release has learnt")


class ForgottenResponse(BaseModel):
    """A user was forgotten."""

    user_id: str
    forgotten: AwareDatetime
