"""Bounds of the numbers in config dataclasses, declared with the fields and checked before anything starts.

    @dataclass(kw_only=True, slots=True)
    class TrainConfig:
        epochs: int = bounded(20, at_least=1)

`typed` (data/artifacts/structured.py) checks the whole config of a command. A dataclass that code makes by itself calls
`check_bounds` in its `__post_init__`, before it compares its fields with each other.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from data.artifacts.errors import ConfigError

BOUNDS = "bounds"
"""Key of a dataclass field's metadata with its `Bounds`."""

LARGEST_INT = 2**31 - 1
"""The largest whole number, and with a minus the smallest one, of a field that declares no such bound itself: what
libraries take as a number of threads, rows or bytes of a buffer."""

LARGEST_FLOAT, SMALLEST_FLOAT = (2 - 2**-23) * 2.0**127, 2.0**-126
"""The largest and the smallest magnitude of float32, in which models compute; smaller ones are taken for 0 there."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Where a number must lie. NaN and infinities lie outside of all bounds, and so does what float32 cannot hold.

    A whole number has LARGEST_INT as its bound on a side on which none is declared.

    Attributes:
        at_least, above: the lower bound, included or not; None means none.
        at_most, below: the upper bound, included or not; None means none.
        or_null: whether the field may be null instead, for the message.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    or_null: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value lies within the bounds."""
        return self.objection(value) is None

    def objection(self, value: float) -> str | None:
        """What the value must be instead; None if it lies within the bounds."""
        if not self._is_within(value):
            return str(self)
        if isinstance(value, float):
            if abs(value) > LARGEST_FLOAT:
                return f"must lie between {-LARGEST_FLOAT:.2g} and {LARGEST_FLOAT:.2g}, as float32 does"
            if 0 < abs(value) < SMALLEST_FLOAT:
                return f"is too near 0 for float32, whose smallest number is {SMALLEST_FLOAT:.2g}"
        elif value > LARGEST_INT and self.at_most is None and self.below is None:
            return f"must be at most {LARGEST_INT}"
        elif value < -LARGEST_INT and self.at_least is None and self.above is None:
            return f"must be at least {-LARGEST_INT}"
        return None

    def _is_within(self, value: float) -> bool:
        """Whether the value is finite and lies within the declared bounds."""
        return (
            not (isinstance(value, float) and not math.isfinite(value))
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        low, high = _first(self.at_least, self.above), _first(self.at_most, self.below)
        if low is not None and high is not None:
            left, right = "[" if self.above is None else "(", "]" if self.below is None else ")"
            text = f"must lie in {left}{low}, {high}{right}"
            if isinstance(low, int) and isinstance(high, int) and (left, right) == ("[", "]"):
                text = f"must lie in {low}..{high}"
        elif low is not None:
            text = f"must be {'at least' if self.above is None else 'above'} {low:g}, and finite"
        elif high is not None:
            text = f"must be {'at most' if self.below is None else 'below'} {high:g}, and finite"
        else:
            text = "must be a finite number"
        return f"{text}, or null" if self.or_null else text


def bounded(
    default: Any = MISSING,
    *,
    factory: Callable[[], Any] | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a config dataclass that holds a number, or a list or mapping of numbers, within bounds.

    Without a bound, any number that float32 holds is right, and any whole number up to LARGEST_INT.

    Args:
        default: its default value; None allows null. Without one, the field must be given.
        factory: makes the default value instead, if that is a list or a mapping.
    """
    bounds = Bounds(at_least=at_least, above=above, at_most=at_most, below=below, or_null=default is None)
    if factory is not None:
        return field(default_factory=factory, metadata={BOUNDS: bounds})
    return field(default=default, metadata={BOUNDS: bounds})


def bounds_of(of: type) -> dict[str, Bounds]:
    """The bounds of each field of a dataclass; those of a field that declares none are open."""
    return {each.name: each.metadata.get(BOUNDS, Bounds()) for each in fields(of)}


def check_bounds(config: Any, key: str) -> None:
    """Checks the numbers of a config dataclass, without those of dataclasses in it.

    Args:
        key: the config key of the dataclass, for messages.

    Raises:
        ConfigError: a number lies outside of the bounds of its field; the message names its key, value and bounds.
    """
    for name, bounds in bounds_of(type(config)).items():
        refuse_outside(f"{key}.{name}", getattr(config, name), bounds)


def refuse_outside(key: str, value: Any, bounds: Bounds) -> None:
    """Raises ConfigError if the value is a number outside of the bounds, or holds one in a list or mapping."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if (objection := bounds.objection(value)) is not None:
            raise ConfigError(f"{key}: {value} {objection}")
    elif isinstance(value, Mapping):
        for name, of in value.items():
            refuse_outside(f"{key}.{name}", of, bounds)
    elif isinstance(value, list | tuple):
        for number, of in enumerate(value):
            refuse_outside(f"{key}[{number}]", of, bounds)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
