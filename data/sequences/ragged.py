"""Lists of different lengths, one for each row of a batch, in one array.

Shape legend: B rows, K values of all rows together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sequences.histories import Sequences

MOST = 5_000
"""Largest number of a user's items that a row has: the latest ones."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """A list of each row.

    Attributes:
        values_K: int32, row after row.
        lengths_B: int64, how many of them each row has.
    """

    values_K: np.ndarray
    lengths_B: np.ndarray

    @classmethod
    def items_of(cls, sequences: Sequences, user_rows_B: np.ndarray) -> "Ragged":
        """All items of the user of each row, the latest MOST of them."""
        row_K, items_K = sequences.of_users(user_rows_B, most=MOST)
        return cls(items_K, np.bincount(row_K, minlength=len(user_rows_B)))

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """The rows of all parts, one part after the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("values_K", "lengths_B")))

    def __getitem__(self, rows: slice) -> "Ragged":
        """Some rows that follow one another."""
        first, last, _ = rows.indices(len(self.lengths_B))
        ends_B1 = np.append(0, np.cumsum(self.lengths_B))
        return Ragged(self.values_K[ends_B1[first] : ends_B1[max(first, last)]], self.lengths_B[rows])
