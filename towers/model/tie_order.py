"""The order of items that score alike: a seeded permutation of the catalogue, the same in evaluation and in serving.

Rows follow the sorted ids, so ties by row would favour the same ids in every list and in every release: identical
vectors (such as those of new items with equal features) and equal numbers of interactions are frequent.

Shape legend: I items (row 0 = unknown, always first), N items.
"""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TieOrder:
    """Which of several items with the same score comes first.

    Attributes:
        rank_I: int64, the place of each row in the permutation; lower places come first.
        rows_I: int64, the rows in this order: the inverse of `rank_I`.
    """

    rank_I: np.ndarray
    rows_I: np.ndarray

    @classmethod
    def of(cls, num_items: int, seed: int | None) -> "TieOrder":
        """The order that belongs to a seed.

        Items keep their order among each other when a catalogue grows, because each gets the next number of one random
        sequence.

        Args:
            num_items: I, row 0 included.
            seed: of the permutation; None orders by row, as checkpoints without a seed do.
        """
        rows_I = np.arange(num_items)
        if seed is not None:
            rows_I[1:] = 1 + np.argsort(np.random.PCG64(seed).random_raw(num_items - 1), kind="stable")
        rank_I = np.empty_like(rows_I)
        rank_I[rows_I] = np.arange(num_items)
        return cls(rank_I, rows_I)

    def best_first(self, rows_N: np.ndarray, scores_N: np.ndarray) -> np.ndarray:
        """Indices that sort by descending score, ties by this order; sorts along the last axis: int64 [..., N].

        Args:
            rows_N: item rows; where a row is -1, the score must be -inf.
        """
        return np.lexsort((self.rank_I[rows_N], -scores_N), axis=-1)


def popularity(counts_I: np.ndarray, recent_I: np.ndarray | None = None) -> np.ndarray:
    """[I]: how popular each item is: its interactions, or where these are known the latest ones (float32).

    Among items with equally many of the latest, all interactions decide: a fraction below 1 is added for them.
    """
    if recent_I is None:
        return counts_I
    return (recent_I + counts_I / (counts_I.max() + 1)).astype(np.float32)


def most_popular(popularity_I: np.ndarray, ties: TieOrder | None = None) -> np.ndarray:
    """int64 [I - 1]: all items by descending `popularity`; the popularity fallback and evaluation use it."""
    rows = (ties or TieOrder.of(len(popularity_I), None)).rows_I[1:]
    return rows[np.argsort(-popularity_I[rows], kind="stable")]


def tie_seed(name: str) -> int:
    """The seed of the checkpoint of this name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
