"""Typed filters on item features: from the API's JSON to a Milvus expression, and to a mask.

    {"field": "year", "op": ">=", "value": 1990}
    {"all": [{"field": "genres", "op": "contains_any", "value": ["Drama"]},
             {"not": {"field": "studio", "op": "==", "value": "A"}}]}

Logic is two-valued: a condition on a missing value is false (`!=` too), its `not` true, in Milvus as in the mask.
"""

import json

from data.sources.schema import FeatureKind
from serve.filters.grammar import MISSING_NUMBER, AllOf, AnyOf, Condition, Filter, Not


def column_name(field: str) -> str:
    """The Milvus field of a feature; prefixed, so that it clashes with nothing."""
    return f"f_{field}"


def to_expression(filter: Filter) -> str:
    """The Milvus boolean expression. Values go in as JSON literals or float reprs, never as pasted text."""
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
    if condition.kind is FeatureKind.multi_categorical:
        function = {
            "contains": "array_contains",
            "contains_any": "array_contains_any",
            "contains_all": "array_contains_all",
        }
        return f"{function[op]}({name}, {_literal(condition.value)})"
    text = f"{name} {op} {_literal(condition.value)}"
    if op in ("!=", "<", "<="):  # the only ones that the stand-in for a missing value would pass
        missing = '""' if condition.kind is FeatureKind.categorical else repr(MISSING_NUMBER)
        return f"({text} and {name} != {missing})"
    return text


def _literal(value: str | float | tuple[str | float, ...]) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
