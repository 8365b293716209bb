"""The position of an interaction: its definition, and how positions continue from one split to the next.

The position of an interaction is the number of earlier interactions of the same user, so a user's oldest one has
position 0. A prepared dataset counts positions within each split. Training on several splits needs positions within all
of them together, because it uses a position as an index into the user's items (data/sequences/histories.py), which are
those of all these splits, one split after the other: positions of a later split then continue after the number of the
user's interactions in the earlier ones.

Shape legend: N interactions, U users (row 0 included).
"""

import numpy as np
import pyarrow as pa

POSITION = pa.field("position", pa.int32(), nullable=False)
"""The column of positions in prepared interactions."""


def positions_within_users(user_rows_N: np.ndarray) -> np.ndarray:
    """int64 [N]: the position of each interaction, given the user of each.

    Args:
        user_rows_N: sorted; each user's interactions are oldest first.
    """
    return np.arange(len(user_rows_N)) - np.searchsorted(user_rows_N, user_rows_N)


def continue_positions(interactions: pa.Table, num_earlier_U: np.ndarray) -> pa.Table:
    """Interactions of a later split, with positions that continue after those of the earlier splits.

    Args:
        interactions: columns `user_row` and `position` (within their split), and any others.
        num_earlier_U: int, each user's number of interactions in the earlier splits.
    """
    positions_N = interactions["position"].to_numpy() + num_earlier_U[interactions["user_row"].to_numpy()]
    return with_positions(interactions, positions_N)


def with_positions(interactions: pa.Table, positions_N: np.ndarray) -> pa.Table:
    """The table with other values in its column `position`."""
    at = interactions.column_names.index(POSITION.name)
    return interactions.set_column(at, POSITION, pa.array(positions_N, POSITION.type))


def positions_from_the_end(user_rows_N: np.ndarray, positions_N: np.ndarray, lengths_U: np.ndarray) -> np.ndarray:
    """int [N]: how many of the user's interactions are later than each; 0 for the latest.

    Args:
        lengths_U: each user's number of interactions in all the splits that the positions are counted in.
    """
    return lengths_U[user_rows_N] - 1 - positions_N
