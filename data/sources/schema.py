"""The canonical form that every source turns its log into: declared features, columns of interactions, and splits.

External ids are strings. Only sources, responses and exported files use them. All other code identifies a user or an
item by its *row* (int32; row 0 stands for an unknown one).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError, UserError
from data.sources.feature_kinds.kind import FeatureKind, feature_kind

if TYPE_CHECKING:
    KindName = FeatureKind
else:
    KindName = str  # the type that a structured config can read from yaml; Feature replaces the name by its kind


class DataError(UserError, ValueError):
    """A log, a table or a prepared dataset cannot be used. The message names the place, the value and the cure."""


@dataclass(kw_only=True, slots=True)
class Feature:
    """One declared feature of users or of items.

    Attributes:
        name: the column's name in the prepared `users` or `items` table, which filters use too.
        kind: how the column is read, encoded and filtered: the name of a kind in data/sources/feature_kinds.
        max_values: at most this many values of a row are used, for kinds with several values (words) per row.
        min_count: values (words) that occur on fewer rows than this share row 0 (unknown).
        column: the column's name in the log, if it has another one there; null means `name`.
    """

    name: str
    kind: KindName
    max_values: int = bounded(16, at_least=1)
    min_count: int = bounded(1, at_least=1)
    column: str | None = None

    def __post_init__(self) -> None:
        try:
            self.kind = feature_kind(self.kind)
        except ConfigError as e:
            raise ConfigError(f"feature {self.name!r}, {e}") from e
        if not is_feature_name(self.name):
            raise ConfigError(
                f"feature name {self.name!r}: must be an identifier and none of {sorted(RESERVED_COLUMNS)}; "
                "if the log's column is called so, name the feature otherwise and set its `column`"
            )
        check_bounds(self, f"feature {self.name!r}")


RECENT_COUNT = "recent_count"
"""The column of a checkpoint's items with their numbers of interactions among the latest ones, where these count."""

RESERVED_COLUMNS = frozenset(
    {"row", "user_id", "item_id", "title", "vector", "time", "weight"}
    | {f"{split}_count" for split in ("train", "validation", "test")}
    | {RECENT_COUNT}
)


def is_feature_name(name: str) -> bool:
    """Whether a feature may have this name: an identifier that is none of RESERVED_COLUMNS."""
    return name.isidentifier() and name not in RESERVED_COLUMNS


RAW_INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # unix seconds, or a running number if the log has no times
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),  # index in the log; orders equal times
        pa.field("split", pa.string(), nullable=True),  # null where the log has no split of its own
        pa.field("context", pa.list_(pa.string()), nullable=True),  # one value per context feature, if there are any
        pa.field("type", pa.string(), nullable=True),  # the event type, if the log names one
        pa.field("fault", pa.string(), nullable=True),  # what could not be read, in words; such a row is no interaction
        pa.field("missing", pa.string(), nullable=True),  # why the row is no interaction, such as the id it lacks
    ]
)
"""The columns of interactions that every source delivers."""

SPLITS = ("train", "validation", "test")
"""The splits of every prepared dataset, oldest first."""
