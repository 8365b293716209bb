"""The features by which a request describes an item: names and values that fit a release's features."""

from collections.abc import Mapping
from typing import Any

from data.sources.feature_kinds.kind import FeatureKind
from serve.filters.grammar import finite

MAX_TEXT, MAX_VALUES, MAX_LENGTH = 1000, 100, 4096
"""Limits on the features of an item in a request: characters of a text, values of a list, numbers of a vector."""


def checked_features(
    features: Mapping[str, Any], kinds: Mapping[str, FeatureKind], lengths: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Returns the features with numbers as floats, and texts trimmed as the log's.

    Args:
        features: Values by name, as the request has them.
        kinds: The kinds of the release's features.
        lengths: The length of the vectors of each feature that has some; an empty one counts as missing.

    Raises:
        ValueError: A name or a type is not of this release; the message names the feature.
    """
    for name, value in features.items():
        if name not in kinds:
            raise ValueError(f"features: {name[:50]!r} is unknown; known: {', '.join(kinds) or 'none'}")
        if not _fits(kinds[name], value):
            raise ValueError(f"features.{name}: must be {_wanted(kinds[name])}")
        if kinds[name].is_vector and lengths and value and len(value) != lengths[name]:
            raise ValueError(
                f"features.{name}: must be a list of {lengths[name]} numbers, as the items of this release have them;"
                f" it has {len(value)}"
            )
    return {
        name: float(value) if kinds[name].is_number and value is not None else _trimmed(value)
        for name, value in features.items()
    }


def _wanted(kind: FeatureKind) -> str:
    """Returns a description of the values that `_fits` accepts."""
    if kind.is_number:
        return "a finite number"
    if kind.is_vector:
        return f"a list of at most {MAX_LENGTH} finite numbers"
    return f"a list of at most {MAX_VALUES} strings" if kind.is_list else f"a string of at most {MAX_TEXT} characters"


def _fits(kind: FeatureKind, value: object) -> bool:
    if value is None:
        return True
    if kind.is_number:
        return _is_number(value)
    if kind.is_vector:
        return isinstance(value, list) and len(value) <= MAX_LENGTH and all(_is_number(part) for part in value)
    if kind.is_list:
        return isinstance(value, list) and len(value) <= MAX_VALUES and all(_is_text(part) for part in value)
    return _is_text(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and finite(value)


def _trimmed(value: Any) -> Any:
    if isinstance(value, list):
        return [part.strip() if isinstance(part, str) else part for part in value]
    return value.strip() if _is_text(value) else value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT
