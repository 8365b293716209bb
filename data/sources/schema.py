"""The canonical form that every source turns its log into: declared features, columns of interactions, and splits.

External ids are strings, and only sources, responses and files for others use them. All other code knows a user or an
item by its *row* (int32; row 0 stands for one that is unknown).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from data.artifacts.errors import ConfigError, UserError
from data.sources.feature_kinds.kind import FeatureKind, feature_kind

if TYPE_CHECKING:
    KindName = FeatureKind
else:
    KindName = str  # what a structured config can read from yaml; Feature replaces it by the kind of that name


class DataError(UserError, ValueError):
    """A log, a table or a prepared dataset cannot be used. The message names the place, the value and the cure."""


@dataclass(kw_only=True, slots=True)
class Feature:
    """One declared feature of users or of items.

    Attributes:
        name: the column's name in the `users` or `items` table, which filters use too.
        kind: how the column is read, encoded and filtered: the name of a kind in data/sources/feature_kinds.
        max_values: at most this many values of a row are used, for kinds with several values (words) per row.
        min_count: values (words) that occur on fewer rows than this share row 0 (unknown).
    """

    name: str
    kind: KindName
    max_values: int = 16
    min_count: int = 1

    def __post_init__(self) -> None:
        try:
            self.kind = feature_kind(self.kind)
        except ConfigError as e:
            raise ConfigError(f"feature {self.name!r}, {e}") from e
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
        pa.field("time", pa.int64(), nullable=False),  # unix seconds, or a running number if the log has no times
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # place in the log, which breaks ties of time
        pa.field("split", pa.string(), nullable=True),  # only from sources that bring their own split
        pa.field("context", pa.list_(pa.string()), nullable=True),  # one value per context feature, if there are any
    ]
)
"""The columns of interactions that every source delivers."""

SPLITS = ("train", "validation", "test")
"""The parts that every log is split into."""
