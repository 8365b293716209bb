"""Typed filters on item features: from the API's JSON to a Milvus expression, and to a mask.

    {"field": "year", "op": ">=", "value": 1990}
    {"all": [{"field": "genres", "op": "contains_any", "value": ["Drama"]},
             {"not": {"field": "studio", "op": "==", "value": "A"}}]}

Logic is two-valued: a condition on a missing value is false (`!=` too), its `not` true, in Milvus as in the mask.
"""

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from data.artifacts.errors import UserError
from data.sources.schema import Feature, FeatureKind

MAX_DEPTH, MAX_CONDITIONS, MAX_VALUES, MAX_LENGTH = 5, 32, 256, 256

OPERATORS: dict[FeatureKind, tuple[str, ...]] = {
    FeatureKind.categorical: ("==", "!=", "in"),
    FeatureKind.multi_categorical: ("contains", "contains_any", "contains_all"),
    FeatureKind.numeric: ("==", "!=", "<", "<=", ">", ">=", "in"),
}

LISTS = ("in", "contains_any", "contains_all")

COMBINATIONS = ("all", "any", "not")

MISSING_NUMBER = -1e300
"""What Milvus stores for a missing number; a missing string is "", a missing list is empty."""


class FilterError(UserError, ValueError):
    """A filter that is not one: names the field, the value and what would do."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a feature with a value; list operators have a tuple."""

    field: str
    kind: FeatureKind
    op: str
    value: str | float | tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Filter"


Filter: TypeAlias = Condition | AllOf | AnyOf | Not


def parse(value: object, features: Sequence[Feature]) -> Filter:
    """The filter that a JSON value describes.

    Raises:
        FilterError: it describes none on these features, or is larger than the limits.
    """
    fields = {f.name: f.kind for f in features if f.kind in OPERATORS}
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
    if op not in OPERATORS[kind]:
        raise FilterError(
            f"filter on {field!r}: unknown operator {_short(op)}; {kind.value} fields take {' '.join(OPERATORS[kind])}"
        )
    if op not in LISTS:
        return Condition(field, kind, op, _scalar(field, kind, given))
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_VALUES:
        raise FilterError(f"filter on {field!r}: {op} takes a list of 1 to {MAX_VALUES} values, not {_short(given)}")
    return Condition(field, kind, op, tuple(_scalar(field, kind, v) for v in given))


def _scalar(field: str, kind: FeatureKind, value: object) -> str | float:
    if kind is FeatureKind.numeric:
        if isinstance(value, bool) or not isinstance(value, int | float) or not finite(value):
            raise FilterError(f"filter on {field!r}: expected a finite number, not {_short(value)}")
        return float(value) + 0.0  # -0.0 becomes 0.0, which Milvus's `in` tells apart
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_LENGTH or any(map(_unwritable, value)):
        raise FilterError(
            f"filter on {field!r}: expected a string of 1 to {MAX_LENGTH} characters, none of them a control character,"
            f" not {_short(value)}"
        )
    return value


def _unwritable(character: str) -> bool:
    """Control characters and lone surrogates: Milvus's grammar knows no escape for them."""
    return unicodedata.category(character) in ("Cc", "Cs")


def finite(value: int | float) -> bool:
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
    return json.dumps(
        {"field": name, "op": OPERATORS[kind][0], "value": 1990 if kind is FeatureKind.numeric else "..."}
    )
