"""The columns of interactions in a prepared dataset."""

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
    ]
)
"""Columns of each file of interactions.

A file holds interactions of one split (`interactions/split=train/`), sorted by user_row, each user's oldest first.
"""
