"""The canonical tables: what every log becomes at the door, and the errors for logs that cannot.

External ids are strings and stay at the edges; inside, a user or an item is a *row* (int32, row 0 = unknown).
"""

from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from data.artifacts.errors import ConfigError, UserError


class DataError(UserError, ValueError):
    """A log, table or prepared dataset is not what it should be. The message names place, value and cure."""


class FeatureKind(Enum):
    """How a declared feature column is read, encoded and filtered."""

    categorical = "categorical"  # string: one value, equality filters
    multi_categorical = "multi_categorical"  # list<string>: a set of values, containment filters
    numeric = "numeric"  # float64: range filters
    text = "text"  # string: tokenised for the towers, not filterable


ARROW_TYPES: dict[FeatureKind, pa.DataType] = {
    FeatureKind.categorical: pa.string(),
    FeatureKind.multi_categorical: pa.list_(pa.string()),
    FeatureKind.numeric: pa.float64(),
    FeatureKind.text: pa.string(),
}


@dataclass(kw_only=True, slots=True)
class Feature:
    """One declared feature of users or of items.

    Attributes:
        name: column name in the canonical `users` / `items` table; also the field name of filters.
        kind: how it is read and encoded.
        max_values: multi_categorical and text: at most this many values (tokens) of a row are used.
        min_count: values (tokens) seen on fewer rows than this share row 0 (unknown).
    """

    name: str
    kind: FeatureKind
    max_values: int = 16
    min_count: int = 1

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in RESERVED_COLUMNS:
            raise ConfigError(
                f"feature name {self.name!r}: must be an identifier and none of {sorted(RESERVED_COLUMNS)}"
            )
        if self.max_values < 1 or self.min_count < 1:
            raise ConfigError(f"feature {self.name!r}: max_values and min_count must be at least 1")


RESERVED_COLUMNS = frozenset(
    {"row", "user_id", "item_id", "title", "train_count", "validation_count", "vector", "time", "weight"}
)

RAW_INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # unix seconds, or an ordinal where the log has no clock
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # order in the log: breaks ties of time
        pa.field("split", pa.string(), nullable=True),  # set only by sources that bring their own split
        pa.field("context", pa.list_(pa.string()), nullable=True),  # a value per context feature, where there are any
    ]
)
"""Interactions as a source hands them over (after the source's own cast)."""

SPLITS = ("train", "validation", "test")
