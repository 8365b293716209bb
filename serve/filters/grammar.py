"""The grammar of filters: conditions on item features, parsed from the API's JSON and checked against their types.

    {"field": "year", "op": ">=", "value": 1990}
    {"all": [{"field": "genres", "op": "contains_any", "value": ["Drama"]},
             {"not": {"field": "studio", "op": "==", "value": "A"}}]}

Logic is two-valued: a condition on a missing value is false (also with `!=`), and its `not` is true. Milvus
(serve/filters/expression.py) and masks (serve/filters/masks.py) agree on this.
"""

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from data.artifacts.errors import UserError
from data.sources.feature_kinds.kind import FeatureKind
from data.sources.schema import Feature
from data.sources.values.limits import MAX_FILTER_CHARACTERS

MAX_DEPTH, MAX_CONDITIONS, MAX_VALUES, MAX_LENGTH = 5, 32, 256, MAX_FILTER_CHARACTERS
"""Limits on nesting, conditions in a filter, values in a list, and characters of a string."""

LIST_OPERATORS = ("in", "contains_any", "contains_all")
"""Operators whose value is a list."""

COMBINATIONS = ("all", "any", "not")

MISSING_NUMBER = -1e300
"""What Milvus stores for a missing number. A missing string is stored as "", a missing list as an empty one."""


class FilterError(UserError, ValueError):
    """A filter is not valid; the message names the field, the value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of one feature with a value; with LIST_OPERATORS the value is a tuple."""

    field: str
    kind: FeatureKind
    op: str
    value: str | float | tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """True if all parts are true."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True if any part is true."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True if the part is false."""

    part: "Filter"


Filter: TypeAlias = Condition | AllOf | AnyOf | Not


def parse(value: object, features: Sequence[Feature]) -> Filter:
    """Returns the filter that a JSON value describes.

    Raises:
        FilterError: The value is not a filter on these features, or exceeds a limit.
    """
    fields = {f.name: f.kind for f in features if f.kind.is_filterable}
    parsed = _parse(value, fields, MAX_DEPTH)
    if (count := _count(parsed)) > MAX_CONDITIONS:
        raise FilterError(f"filter: {count} conditions, at most {MAX_CONDITIONS} are allowed")
    return parsed


def _parse(value: object, fields: dict[str, FeatureKind], depth: int) -> Filter:
    if not isinstance(value, dict):
        raise FilterError(f"filter: expected an object such as {_example(fields)}, not {_short(value)}")
    if depth == 0:
        raise FilterError(f"filter: nested more than {MAX_DEPTH} deep")
    if len(value) == 1 and (name := next(iter(value))) in COMBINATIONS:
        return _combination(name, value[name], fields, depth)
    if set(value) != {"field", "op", "value"}:
        raise FilterError(
            f"filter: expected field, op and value, or one of {', '.join(COMBINATIONS)};"
            f" got keys {_short(sorted(map(str, value)))}"
        )
    return _condition(value, fields)


def _combination(name: str, inner: object, fields: dict[str, FeatureKind], depth: int) -> Filter:
    if name == "not":
        return Not(_parse(inner, fields, depth - 1))
    if not isinstance(inner, list) or not 1 <= len(inner) <= MAX_CONDITIONS:
        raise FilterError(f"filter: {name!r} takes a list of 1 to {MAX_CONDITIONS} filters, not {_short(inner)}")
    parts = tuple(_parse(part, fields, depth - 1) for part in inner)
    return AllOf(parts) if name == "all" else AnyOf(parts)


def _condition(value: dict[str, Any], fields: dict[str, FeatureKind]) -> Condition:
    field, op, given = value["field"], value["op"], value["value"]
    if not isinstance(field, str) or field not in fields:
        raise FilterError(f"filter: unknown field {_short(field)}; known: {', '.join(fields) or 'none'}")
    kind = fields[field]
    if op not in kind.filter_operators:
        raise FilterError(
            f"filter on {field!r}: unknown operator {_short(op)};"
            f" {kind.name} fields take {' '.join(kind.filter_operators)}"
        )
    if op not in LIST_OPERATORS:
        return Condition(field, kind, op, _scalar(field, kind, given))
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_VALUES:
        raise FilterError(f"filter on {field!r}: {op} takes a list of 1 to {MAX_VALUES} values, not {_short(given)}")
    return Condition(field, kind, op, tuple(_scalar(field, kind, v) for v in given))


def _scalar(field: str, kind: FeatureKind, value: object) -> str | float:
    if kind.is_number:
        if isinstance(value, bool) or not isinstance(value, int | float) or not finite(value):
            raise FilterError(f"filter on {field!r}: expected a finite number, not {_short(value)}")
        return float(value) + 0.0  # -0.0 becomes 0.0, which Milvus's `in` tells apart
    value = value.strip() if isinstance(value, str) else value  # as preparation does with those of items
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_LENGTH or any(map(_unwritable, value)):
        raise FilterError(
            f"filter on {field!r}: expected a string of 1 to {MAX_LENGTH} characters, none of them a control character,"
            f" not {_short(value)}"
        )
    return value


def _unwritable(character: str) -> bool:
    """Whether this is a control character or a lone surrogate, for which Milvus's grammar has no escape."""
    return unicodedata.category(character) in ("Cc", "Cs")


def finite(value: int | float) -> bool:
    """Whether a number is finite as a float, and of smaller magnitude than MISSING_NUMBER."""
    return math.isfinite(value) and abs(value) < abs(MISSING_NUMBER) if abs(value) < 2**1000 else False


def _count(filter: Filter) -> int:
    match filter:
        case Condition():
            return 1
        case Not(part):
            return _count(part)
        case AllOf(parts) | AnyOf(parts):
            return sum(_count(part) for part in parts)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _example(fields: dict[str, FeatureKind]) -> str:
    name, kind = next(iter(fields.items()), ("year", FeatureKind.numeric))
    return json.dumps({"field": name, "op": kind.filter_operators[0], "value": 1990 if kind.is_number else "..."})
