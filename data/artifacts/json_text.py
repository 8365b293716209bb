"""JSON as files and records hold it: valid for every reader, whatever a measurement came to."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from data.artifacts.errors import UserError

T = TypeVar("T")

RESTORE = "restore the file"
"""The cure of a damaged file of which nothing else is known."""


class DamagedFile(UserError, ValueError):
    """A JSON file in storage is not what it should be. The message names the file, what is wrong, and the cure."""


def parsed(content: bytes, place: str, of: Callable[[Any], T], what: str = "JSON", cure: str = RESTORE) -> T:
    """What `of` makes of the JSON value that a file holds.

    Args:
        place: The path of the file, for the message.
        of: Takes the value; where that is not what it should be, it raises an error such as TypeError or KeyError.
        what: What the file should hold, for the message.
        cure: What to do where it does not.

    Raises:
        DamagedFile: The content is no JSON, such as that of a file that was cut, or `of` does not take its value.
    """
    if not content.strip():
        raise DamagedFile(f"{place}: not {what} (it is empty); {cure}")
    return shaped(content, place, lambda text: of(json.loads(text)), what, cure)


def shaped(value: Any, place: str, of: Callable[[Any], T], what: str, cure: str = RESTORE) -> T:
    """What `of` makes of a value that a file holds; the arguments and the error are those of `parsed`."""
    try:
        return of(value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        why = f"it has no {e}" if isinstance(e, KeyError) else str(e)
        raise DamagedFile(f"{place}: not {what} ({why}); {cure}") from e


def mapping(value: Any) -> dict[str, Any]:
    """The value, if it is a JSON object; raises TypeError if it is not."""
    if not isinstance(value, dict):
        raise TypeError(f"it holds {type(value).__name__} and not an object")
    return value


def json_text(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """`value` as JSON. Numbers that are not finite, which JSON does not have, become null.

    Raises:
        TypeError: `value` holds something else that JSON does not have.
    """
    return json.dumps(finite(value), indent=indent, sort_keys=sort_keys, allow_nan=False)


def finite(value: Any) -> Any:
    """`value` with None in place of every number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(of) for key, of in value.items()}
    return [finite(of) for of in value] if isinstance(value, list | tuple) else value
