"""The canonical tables: what every log becomes at the door, and the errors for logs that cannot.

External ids are strings and stay at the edges; inside, a user or an item is a *row* (int32, row 0 = unknown).
"""

import pyarrow as pa

INTERACTIONS = pa.schema(
    [
        pa.field("user_row", pa.int32(), nullable=False),
        pa.field("item_row", pa.int32(), nullable=False),
        pa.field("time", pa.int64(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),  # index among the user's interactions of the split
        pa.field("context", pa.list_(pa.string()), nullable=True),  # a value per context feature of the manifest
    ]
)
"""Prepared interactions, in files of one split each (`interactions/split=train/`), by user_row, then oldest first."""
