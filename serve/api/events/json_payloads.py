"""JSON objects of events, which the payload of every format becomes, as `POST /v1/events` takes them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from data.artifacts.errors import one_line
from serve.api.limits import MAX_EVENTS


class Unreadable(ValueError):
    """A message that holds no events; the text says why."""


def read_json(value: bytes) -> list[bytes]:
    """A message that is one event as a JSON object."""
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as e:
        raise Unreadable(f"it is no JSON: {e}") from e
    if not isinstance(found, dict):
        raise Unreadable("it is JSON, but no object")
    return [value]


def as_objects(events: Iterable[Any]) -> list[bytes]:
    """Events as JSON objects, without the fields that are null. Times must be aware of their zone.

    Args:
        events: mappings from field to value, at most `MAX_EVENTS` of them.
    """
    found: list[bytes] = []
    for event in events:
        if len(found) == MAX_EVENTS:
            raise Unreadable(f"it holds more than {MAX_EVENTS} events")
        if not isinstance(event, Mapping):
            raise Unreadable("what it holds are no records")
        fields = {name: value for name, value in event.items() if value is not None}
        for name, value in fields.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise Unreadable(f"{name}: {value} is no finite number")
        try:
            found.append(orjson.dumps(fields))
        except (TypeError, ValueError) as e:
            raise Unreadable(f"its values are none of an event: {one_line(e)}") from e
    if not found:
        raise Unreadable("it holds no event")
    return found
