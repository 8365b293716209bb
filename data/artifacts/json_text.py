"""JSON as files and records hold it: valid for every reader, whatever a measurement came to."""

import json
import math
from collections.abc import Mapping
from typing import Any


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
