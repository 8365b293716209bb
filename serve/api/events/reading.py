"""Reading batches of events: each is checked by itself, so that a bad one does not keep out the others."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from serve.api.events.schemas import EventRequest, EventsRequest
from serve.events.config import EventsConfig
from serve.events.event import MICROS, Event
from serve.events.protocol import Outcome

Problem = dict[str, Any]
"""What is wrong, in the form in which FastAPI reports wrong fields: `type`, `loc` and `msg`."""

REFUSED = {
    Outcome.conflict: ("event_id", "an event of this id with other content was accepted before; give it another id"),
    Outcome.forgotten: ("user_id", "the user was forgotten after the event happened: it is not kept"),
}


LONG_INTEGER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|(?<![\d.eE+])\d{400,}', re.DOTALL)
"""A string of JSON, which is to be left as it is, or an integer beyond all floats.

Of a string without an end everything is taken, so that the time to search grows with the size of the text alone.
"""

NO_CHARACTER = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
    r"|(?P<byte>[\udc80-\udcff])",
    re.DOTALL,
)
"""In a text that was decoded with `surrogateescape`: half of a pair of surrogates, or a byte that is no UTF-8.

Other escapes are found too, which are to be left as they are, so that none is read from its middle.
"""

CONTROL = r"\u0000"
"""What takes the place of what is no character: no text of an event may hold it."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """A batch of events that was read.

    Attributes:
        events: The valid ones.
        places: The place of each of them in the batch.
        problems: What is wrong with the others.
    """

    events: list[Event] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_events(body: bytes, config: EventsConfig, sent_us: Sequence[int | None] = ()) -> EventBatch:
    """Reads the body of a request. If the body as a whole is wrong, the batch has problems and no events.

    Args:
        sent_us: Of each event, when it was sent, in microseconds since 1970, which is its time if it names none: events
            that waited on their way, as in a topic, did not happen when they are read. None, and events for which there
            is nothing here, happened now.
    """
    problems: list[Problem] = []
    try:
        asked = list(enumerate(EventsRequest.model_validate_json(body).events))
    except ValidationError as e:
        problems = _problems(e)
        if any(len(problem["loc"]) < 3 for problem in problems):
            readable = _readable(body) if problems[0]["type"] == "json_invalid" else body
            return EventBatch(problems=problems) if readable == body else read_events(readable, config, sent_us)
        asked, problems = _each(from_json(body)["events"])
    batch = EventBatch(problems=problems)
    now_us = time.time_ns() // 1000
    for place, request in asked:
        found = _event(request, now_us, config, sent_us[place] if place < len(sent_us) else None)
        if isinstance(found, Event):
            batch.events.append(found)
            batch.places.append(place)
        else:
            batch.problems.append(_problem(place, *found))
    return batch


def _problems(error: ValidationError, *place: str | int) -> list[Problem]:
    """The errors of pydantic, at a place of the body."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return [{**found, "loc": ("body", *place, *found["loc"])} for found in errors]


def _each(events: Sequence[Any]) -> tuple[list[tuple[int, EventRequest]], list[Problem]]:
    """Checks each event by itself: returns the valid ones with their places, and what is wrong with the others."""
    asked, problems = [], []
    for place, event in enumerate(events):
        try:
            asked.append((place, EventRequest.model_validate_json(to_json(event))))
        except ValidationError as e:
            problems += _problems(e, "events", place)
    return asked, problems


def _readable(body: bytes) -> bytes:
    """The JSON with values that no field takes either, in place of those for which a parser refuses the whole text.

    These are integers with too many digits, surrogates without their other half, and bytes that are no UTF-8.
    """
    text = body.decode(errors="surrogateescape")
    text = NO_CHARACTER.sub(lambda found: CONTROL if found["half"] or found["byte"] else found[0], text)
    whole = text.encode(errors="surrogateescape")
    return LONG_INTEGER.sub(lambda found: found[0] if found[0].startswith(b'"') else b"9" * 400, whole)


def answer(batch: EventBatch, outcomes: Sequence[Outcome], names_users: bool) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the answer to a batch, by what became of its events.

    Args:
        batch: The events that were read.
        outcomes: What the store says of the valid ones.
        names_users: Whether the caller may read what is known of users. To others, an event that a forgotten user
            caused before counts as accepted, as the event of any other user would: they are not to learn who was
            forgotten.
    """
    if not names_users:
        outcomes = [Outcome.accepted if outcome is Outcome.forgotten else outcome for outcome in outcomes]
    refused = [
        _problem(place, *REFUSED[outcome])
        for place, outcome in zip(batch.places, outcomes, strict=True)
        if outcome in REFUSED
    ]
    counts = {
        "accepted": sum(outcome is Outcome.accepted for outcome in outcomes),
        "duplicates": sum(outcome is Outcome.duplicate for outcome in outcomes),
    }
    problems = sorted([*batch.problems, *refused], key=lambda problem: problem["loc"][2:3])  # by their numbers
    return (422, {"detail": problems, **counts}) if problems else (202, counts)


def _event(
    request: EventRequest, now_us: int, config: EventsConfig, sent_us: int | None = None
) -> Event | tuple[str, str]:
    """The event, or the field that the config refuses, and why.

    Args:
        sent_us: When it was sent, by a clock that may be ahead of this one.
    """
    if request.type not in config.types:
        return "type", f"{request.type[:64]!r} is unknown; known are {', '.join(config.types)}"
    named = request.time.timestamp() if isinstance(request.time, datetime) else request.time
    seconds = min(now_us if sent_us is None else sent_us, now_us) / MICROS if named is None else named
    if seconds > now_us / MICROS + config.max_ahead_s:
        return "time", f"lies more than {config.max_ahead_s:g} s in the future; send unix seconds or ISO 8601"
    if seconds < now_us / MICROS - config.max_age_days * 86_400:
        past = f"lies more than {config.max_age_days:g} days in the past; such events are not accepted"
        return "time", past if named is not None else f"that of the message, since the event names none, {past}"
    return Event(
        event_id=request.event_id,
        user_id=request.user_id,
        item_id=request.item_id,
        type=request.type,
        time_us=round(seconds * MICROS),
        value=request.value,
        context=request.context,
        request_id=request.request_id,
        is_timed=request.time is not None,
    )


def _problem(place: int, name: str, message: str) -> Problem:
    return {"type": "value_error", "loc": ("body", "events", place, name), "msg": f"{name}: {message}"}
