"""Filters as boolean expressions of Milvus.

Logic is two-valued: a condition on a missing value is false (also with `!=`), and its `not` is true, as in
serve/filters/masks.py.
"""

import hashlib
import json

from data.sources.feature_kinds.kind import CONTAINMENT
from serve.filters.grammar import MISSING_NUMBER, AllOf, AnyOf, Condition, Filter, Not

MAX_NAME = 200
"""Most characters of a feature's name that are taken over into the name of its field; Milvus takes 255."""


def column_name(field: str) -> str:
    """Returns the name of a feature's Milvus field; its prefix keeps it apart from our own fields.

    A Milvus server takes ASCII letters, digits and _ alone: names with others, and long ones, become digests.
    """
    if field.isascii() and len(field) <= MAX_NAME:
        return f"f_{field}"
    return f"x_{hashlib.sha256(field.encode()).hexdigest()[:32]}"


def to_expression(filter: Filter) -> str:
    """Returns the Milvus expression of a filter. Values become JSON or float literals, so that none can inject code."""
    match filter:
        case Not(part):
            return f"not ({to_expression(part)})"
        case AllOf(parts):
            return " and ".join(f"({to_expression(part)})" for part in parts)
        case AnyOf(parts):
            return " or ".join(f"({to_expression(part)})" for part in parts)
        case Condition():
            return _condition_expression(filter)


def _condition_expression(condition: Condition) -> str:
    name, op = column_name(condition.field), condition.op
    if op in CONTAINMENT:
        return f"array_{op}({name}, {_literal(condition.value)})"
    text = f"{name} {op} {_literal(condition.value)}"
    if op in ("!=", "<", "<="):  # only these would accept the stored value of a missing one
        missing = repr(MISSING_NUMBER) if condition.kind.is_number else '""'
        return f"({text} and {name} != {missing})"
    return text


def _literal(value: str | float | tuple[str | float, ...]) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
