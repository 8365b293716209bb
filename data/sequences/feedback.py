"""Weights, explicit negatives and contexts of interactions, which training uses beside their items.

Shape legend: B batch, L window length, N interactions, M negatives, U users (row 0 included), C context features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.sequences.histories import Sequences, order_of, pair_keys


@dataclass(frozen=True, slots=True)
class ExplicitNegatives:
    """The explicit negatives of each user: items that the user does not want.

    Attributes:
        sequences: each user's negatives.
        weights_M: float32, how much each counts, in the order of `sequences.items_N`.
    """

    sequences: Sequences
    weights_M: np.ndarray

    @classmethod
    def of(cls, negatives: pa.Table, positives: pa.Table, num_users: int, num_items: int) -> "ExplicitNegatives":
        """The negatives of a log whose users are in one part; the arguments are those of `not_taken_back`.

        Args:
            num_users: row 0 included.
        """
        return cls.of_parts([not_taken_back(negatives, positives, num_items)], num_users)

    @classmethod
    def of_parts(cls, parts: Sequence[pa.Table], num_users: int) -> "ExplicitNegatives":
        """The negatives of a log in parts of whole users, each with users that come after those of the parts before.

        Args:
            parts: what `not_taken_back` left of each.
            num_users: row 0 included.
        """
        sequences = Sequences.of_parts(parts, num_users, sum(map(len, parts)))
        weights = [part["weight"].to_numpy()[order_of(part)].astype(np.float32) for part in parts]
        return cls(sequences, np.concatenate([np.zeros(0, np.float32), *weights]))

    def draw(self, user_rows: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One negative of each user, drawn at random: its item row, int32, and its weight, float32; 0 without any.

        Args:
            user_rows: int, of any shape.
        """
        count = self.sequences.lengths_of(user_rows)
        within = (random.random(user_rows.shape) * count).astype(np.int64)
        index = np.where(count > 0, self.sequences.offsets_U1[user_rows] + within, 0)
        if not len(self.weights_M):
            return np.zeros(user_rows.shape, np.int32), np.zeros(user_rows.shape, np.float32)
        return (
            np.where(count > 0, self.sequences.items_N[index], 0).astype(np.int32),
            np.where(count > 0, self.weights_M[index], 0).astype(np.float32),
        )


def not_taken_back(negatives: pa.Table, positives: pa.Table, num_items: int) -> pa.Table:
    """Negatives of some users: if a user has both wanted and rejected an item, the latest interaction decides.

    Args:
        negatives: columns `user_row`, `item_row`, `time` and `weight`, each user's oldest first.
        positives: columns `user_row`, `item_row` and `time`, all of these users.
        num_items: row 0 included.

    Returns:
        columns `user_row`, `item_row` and `weight`.
    """
    keys_M, keys_N = (
        pair_keys(table["user_row"].to_numpy(), table["item_row"].to_numpy(), num_items)
        for table in (negatives, positives)
    )
    times_M, times_N = (table["time"].to_numpy() for table in (negatives, positives))
    order_N = np.lexsort((times_N, keys_N))
    last_M = np.searchsorted(keys_N[order_N], keys_M, side="right") - 1  # the latest positive of the same pair
    found_M = order_N[last_M.clip(min=0)] if len(order_N) else np.zeros(len(keys_M), dtype=np.int64)
    is_taken_back_M = np.zeros(len(keys_M), dtype=bool)
    if len(order_N):
        is_taken_back_M = (last_M >= 0) & (keys_N[found_M] == keys_M) & (times_N[found_M] > times_M)
    return negatives.select(["user_row", "item_row", "weight"]).filter(pa.array(~is_taken_back_M))


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the interactions of a log say besides their items.

    Attributes:
        weights_N: float32, how much each counts, in the order of `Sequences.items_N`; None where all count alike.
        negatives: None where no user has any.
        context_NC: int16, rows of the values of each one's context, in the same order; None where the towers take none.
    """

    weights_N: np.ndarray | None = None
    negatives: ExplicitNegatives | None = None
    context_NC: np.ndarray | None = None

    def contexts(self, sequences: Sequences, user_rows_B: np.ndarray, within: np.ndarray) -> np.ndarray | None:
        """int64 [B, ..., C]: the contexts of the users' interactions at these positions; None where there are none.

        Args:
            within: int [B] or [B, L]; the context is 0 where a position is below 0.
        """
        if self.context_NC is None:
            return None
        offsets = sequences.offsets_U1[user_rows_B].reshape(-1, *[1] * (within.ndim - 1))
        index = np.where(within >= 0, offsets + within, 0)
        found: np.ndarray = np.where((within >= 0)[..., None], self.context_NC[index], 0).astype(np.int64)
        return found

    def draw(
        self, user_rows: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """What `ExplicitNegatives.draw` returns; None twice where no user has any negative."""
        return (None, None) if self.negatives is None else self.negatives.draw(user_rows, random)

    def weights(self, sequences: Sequences, user_rows_B: np.ndarray, positions_B: np.ndarray) -> np.ndarray | None:
        """float32 [B]: how much the interactions at these positions count; None where all count alike."""
        if self.weights_N is None:
            return None
        return sequences.take(user_rows_B, positions_B[:, None], np.ones((len(positions_B), 1), bool), self.weights_N)[
            :, 0
        ]
