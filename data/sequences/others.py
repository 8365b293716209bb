"""Histories for logs without an order: a user's items other than the target, wherever the target stands among them.

Shape legend: B batch, L history length, N interactions, G pairs of a user and an item.
"""

from dataclasses import dataclass

import numpy as np

from data.sequences.histories import Sequences


@dataclass(frozen=True, slots=True)
class Repeats:
    """The positions of items that a user has more than once.

    The interactions are grouped by user and item. If an item stands at a user's positions p_0 < p_1 < ..., the user's
    i-th position without it is i + j, where j counts the p_m with p_m - m <= i.

    Attributes:
        place_N: int64, the place of each interaction when they are sorted by group and then by position.
        group_N: int64, the group at each place.
        starts_G1: int64 [G + 1], the first place of each group.
        before_N: int64, at each place, how many positions without the item are before: p_m - m.
        span: more than any user's number of interactions. Ascending over all places is `group_N * span + before_N`.
        keys_N: int64, these ascending numbers.
    """

    place_N: np.ndarray
    group_N: np.ndarray
    starts_G1: np.ndarray
    before_N: np.ndarray
    span: int
    keys_N: np.ndarray

    @classmethod
    def of(cls, sequences: Sequences) -> "Repeats | None":
        """The repeats of a log; None if no user has an item more than once."""
        owner_N = np.repeat(np.arange(sequences.num_users), sequences.lengths_U)
        key_N = owner_N * (int(sequences.items_N.max(initial=0)) + 1) + sequences.items_N
        order_N = np.argsort(key_N, kind="stable")
        is_first_N = np.diff(key_N[order_N], prepend=-1) != 0
        if is_first_N.all():
            return None
        group_N, starts_G = np.cumsum(is_first_N) - 1, np.flatnonzero(is_first_N)
        places_N, position_N = np.arange(len(order_N)), order_N - sequences.offsets_U1[owner_N[order_N]]
        place_N = np.empty_like(places_N)
        place_N[order_N] = places_N
        before_N, span = position_N - (places_N - starts_G[group_N]), int(sequences.lengths_U.max()) + 1
        starts_G1 = np.append(starts_G, len(order_N))
        return cls(place_N, group_N, starts_G1, before_N, span, group_N * span + before_N)

    def num_up_to(self, group_B: np.ndarray, index_BL: np.ndarray) -> np.ndarray:
        """int64 [B, L]: how many of a group's `before_N` are at most the index."""
        found_BL = np.searchsorted(self.keys_N, group_B[:, None] * self.span + index_BL, side="right")
        return found_BL - self.starts_G1[group_B][:, None]


@dataclass(frozen=True, slots=True)
class OtherItems:
    """Draws histories without the target item.

    Attributes:
        sequences: all users' items.
        repeats: None where no user has an item more than once, which is faster.
    """

    sequences: Sequences
    repeats: Repeats | None

    @classmethod
    def of(cls, sequences: Sequences) -> "OtherItems":
        """Prepares the draws; sorts the interactions once."""
        return cls(sequences, Repeats.of(sequences))

    def draw(
        self, user_rows_B: np.ndarray, positions_B: np.ndarray, length: int, random: np.random.Generator
    ) -> np.ndarray:
        """int32 [B, L]: each user's items other than the one at the position, padded with 0 on the right.

        If there are more than L, these are a random window that may wrap around from the latest to the oldest.
        """
        repeats, lengths_B = self.repeats, self.sequences.lengths_of(user_rows_B)
        if repeats is None:
            num_targets_B, before_B = 1, positions_B
        else:
            place_B = repeats.place_N[self.sequences.offsets_U1[user_rows_B] + positions_B]
            group_B, before_B = repeats.group_N[place_B], repeats.before_N[place_B]
            num_targets_B = repeats.starts_G1[group_B + 1] - repeats.starts_G1[group_B]
        num_others_B1 = (lengths_B - num_targets_B)[:, None]
        count_B1 = np.maximum(num_others_B1, 1)
        start_B1 = (random.random((len(user_rows_B), 1)) * count_B1).astype(np.int64)
        step_L = np.arange(length)
        index_BL = (before_B[:, None] + start_B1 + step_L) % count_B1
        if repeats is None:
            within_BL = index_BL + (index_BL >= positions_B[:, None])
        else:
            within_BL = index_BL + repeats.num_up_to(group_B, index_BL)
        return self.sequences.take(user_rows_B, within_BL, step_L < num_others_B1)
