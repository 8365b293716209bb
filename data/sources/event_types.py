"""The meaning of interactions: event types, and ratings that count as liked or as disliked.

A log may name the type of each interaction (`data.source.columns.type`), such as view, purchase or hide, and the config
says what each type means (`data.events`). Or its weights are ratings, and the config says from which one on a rating is
a positive (`data.positive_from`). A log that has neither consists of positives.

Shape legend: N interactions, T event types.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.records import arrow_compute as pc
from data.artifacts.structured import jsonable, structured


class Sign(Enum):
    """Whether an interaction is a positive, a negative, or is ignored."""

    positive = "positive"  # the user wants such items: the towers learn from it, and the history holds it
    negative = "negative"  # the user does not want the item: an explicit negative of this user
    ignore = "ignore"  # nothing, such as an impression


@dataclass(kw_only=True, slots=True)
class EventType:
    """The meaning of an event type.

    Attributes:
        sign: whether it is a positive, a negative, or ignored.
        weight: how much it counts in training, beside one of weight 1.
        seen: whether the user has then seen the item, so that it is not recommended any more; null means that all but
            ignored ones have.
        relevant: whether a held-out positive of this type is what an evaluation looks for; negatives never are.
        towers: whether the towers learn from a negative of this type; otherwise the re-ranker alone does.
    """

    sign: Sign = Sign.positive
    weight: float = bounded(1.0, above=0)
    seen: bool | None = None
    relevant: bool = True
    towers: bool = True

    def __post_init__(self) -> None:
        check_bounds(self, "data.events")

    @property
    def is_seen(self) -> bool:
        """Whether it counts as seen."""
        return self.sign is not Sign.ignore if self.seen is None else self.seen

    @property
    def is_kept(self) -> bool:
        """Whether a prepared dataset keeps it: an ignored event that does not count as seen says nothing."""
        return self.sign is not Sign.ignore or self.is_seen


LIKED, DISLIKED = "positive", "below"
"""Names of the two event types into which `data.positive_from` divides ratings."""


@dataclass(frozen=True)
class EventTypes:
    """The event types of a log, which have the codes 0 to T - 1 in this order.

    It is false in a boolean context if there are no types, as for a log that consists of positives.

    Attributes:
        types: by name.
        positive_from: where weights are ratings, the lowest one that is LIKED; all others are DISLIKED.
    """

    types: Mapping[str, EventType] = field(default_factory=dict)
    positive_from: float | None = None

    @classmethod
    def rated(cls, positive_from: float, below: EventType) -> "EventTypes":
        """The two types of a log whose weights are ratings."""
        return cls({LIKED: EventType(), DISLIKED: below}, positive_from)

    def __len__(self) -> int:
        """Number of event types."""
        return len(self.types)

    def codes(self, types_N: pa.ChunkedArray, weights_N: pa.ChunkedArray) -> np.ndarray:
        """int16 [N]: the code of each interaction; -1 where its type is missing or unknown.

        Args:
            types_N: strings, as the log names the types; not used for ratings.
            weights_N: numbers; only used for ratings.
        """
        if self.positive_from is not None:
            bound = pa.scalar(self.positive_from, weights_N.type)  # rounded as the weights are
            is_liked_N = pc.greater_equal(weights_N, bound).to_numpy(zero_copy_only=False)
            return np.where(is_liked_N, 0, 1).astype(np.int16)
        found_N = pc.index_in(types_N, value_set=pa.array(list(self.types), pa.string()))
        return pc.fill_null(found_N, -1).to_numpy(zero_copy_only=False).astype(np.int16)

    def classified(self, block: pa.Table) -> pa.Table:
        """The interactions that a dataset keeps, with the code in `type` and in `weight` what they count in training.

        An interaction of an unknown type is left out. A rating decides about the sign alone: liked ones count alike.

        Args:
            block: columns `type` (string) and `weight`, and any others.
        """
        codes_N = self.codes(block["type"], block["weight"])
        is_kept_N = self.having(lambda of: of.is_kept)[codes_N] & (codes_N >= 0)
        weights_N = np.array([of.weight for of in self.types.values()])[codes_N]
        if self.positive_from is None:
            weights_N = weights_N * block["weight"].to_numpy()
        columns = {"type": codes_N, "weight": weights_N.astype(np.float32)}
        for name, values_N in columns.items():
            block = block.set_column(block.column_names.index(name), name, pa.array(values_N))
        return block.filter(pa.array(is_kept_N))

    def having(self, property_of: Callable[[EventType], bool]) -> np.ndarray:
        """bool [T]: the types that have a property."""
        return np.array([property_of(of) for of in self.types.values()], dtype=bool)

    def as_manifest(self) -> dict[str, Any]:
        """The types as a manifest holds them, in the order of their codes."""
        types = [{"name": name} | jsonable(of) for name, of in self.types.items()]
        return {"types": types, "positive_from": self.positive_from}

    @classmethod
    def of_manifest(cls, values: Mapping[str, Any] | None) -> "EventTypes":
        """The inverse of `as_manifest`; manifests of logs that consist of positives have none."""
        if not values:
            return cls()
        types = [dict(of) for of in values["types"]]
        return cls({of.pop("name"): structured(EventType, of) for of in types}, values["positive_from"])


def is_positive(of: EventType) -> bool:
    """Whether a type is positive."""
    return of.sign is Sign.positive


def is_negative(of: EventType) -> bool:
    """Whether a type is negative."""
    return of.sign is Sign.negative


def is_negative_of_towers(of: EventType) -> bool:
    """Whether a type is a negative from which the towers learn too."""
    return is_negative(of) and of.towers
