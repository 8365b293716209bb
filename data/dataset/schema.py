"""The columns of interactions in a prepared dataset, and the order of its files."""

import pyarrow as pa

from data.sequences.positions import POSITION

INTERACTIONS = pa.schema(
    [
        pa.field("user_row", pa.int32(), nullable=False),
        pa.field("item_row", pa.int32(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),  # unix seconds, or a running number if the log has no times
        pa.field("weight", pa.float32(), nullable=False),
        POSITION,  # within the user's interactions of the split
        pa.field("context", pa.list_(pa.string()), nullable=True),  # one value per context feature of the manifest
        pa.field("type", pa.int16(), nullable=True),  # code of the event type in the manifest; only if it has any
    ]
)
"""Columns of each file of interactions.

A file holds the positives (`interactions/split=train/`) or the other interactions (`others/split=train/`) of one split,
sorted by user_row, each user's oldest first.
"""

MAX_CONTEXT_VALUES = 64
"""Values of each context feature that are learned from, the most frequent ones; others count as missing."""


def columns_of(has_types: bool) -> pa.Schema:
    """The columns that are written: INTERACTIONS, without event types where the log has none."""
    return INTERACTIONS if has_types else INTERACTIONS.remove(INTERACTIONS.get_field_index("type"))


def by_number(name: str) -> tuple[int, str]:
    """Sorts the files of parts by number, which has five digits or, from the hundred thousandth part on, more."""
    return len(name), name
