"""All users' items in time order, and the histories that training and serving take from them.

Beside the items there may be the moments of the interactions: when each happened, and the type of its event.

Shape legend: B batch, L history length, U users (row 0 included), N interactions. A position is the index of an
interaction among the user's, see data/sequences/positions.py.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sequences.membership import distinct

TIME, TYPE = "time", "type"
"""Columns of interactions that sequences may hold beside the items."""

BESIDE: dict[str, type[np.generic]] = {TIME: np.int64, TYPE: np.int16}
"""The type of each of these columns in sequences."""

AT_FIRST = 1 << 24
"""Interactions that there is room for at first, at most: a bound may be far above the number that comes."""


class HistoryOrder(Enum):
    """Which of a user's other interactions make up the history of a training example."""

    before = "before"  # those before it, for logs with times
    others = "others"  # all other ones but those with the same item, for logs without an order


def pair_keys(user_rows: np.ndarray, item_rows: np.ndarray, num_items: int) -> np.ndarray:
    """int64: one number for each pair of user and item, by user; `num_items` counts row 0."""
    return user_rows.astype(np.int64) * num_items + item_rows


@dataclass(frozen=True, slots=True)
class SequencesPart:
    """The items of some users who follow one another.

    Attributes:
        first_user: the row of the first of them.
        counts_U: int64, the number of items of each user from there on.
        columns: `item_row` and what there is beside it, user after user, each oldest first.
    """

    first_user: int
    counts_U: np.ndarray
    columns: dict[str, np.ndarray]


def in_order(parts: Iterable[pa.Table], beside: Collection[str] = ()) -> Iterator[SequencesPart]:
    """Parts of interactions, each by user and then oldest first; the arguments are those of `Sequences.of_parts`.

    Raises:
        ValueError: a part has a user who belongs into an earlier one.
    """
    next_user = 0
    for part in filter(len, parts):
        users_N, order_N = part["user_row"].to_numpy(), order_of(part)
        first, last = int(users_N[order_N[0]]), int(users_N[order_N[-1]])
        if first < next_user:
            raise ValueError(f"a part begins with user row {first}, and row {next_user - 1} was in an earlier part")
        columns = {"item_row": part["item_row"].to_numpy()[order_N]}
        for name in BESIDE.keys() & set(beside):
            column = pc.fill_null(part[name], -1).to_numpy() + 1 if name == TYPE else part[name].to_numpy()
            columns[name] = column[order_N]
        yield SequencesPart(first, np.bincount(users_N - first), columns)
        next_user = last + 1


@dataclass(frozen=True, slots=True)
class Sequences:
    """All users' items, oldest first, in one array.

    Attributes:
        offsets_U1: int64 [U + 1]; the items of user u are items_N[offsets_U1[u] : offsets_U1[u + 1]].
        items_N: int32 [N], item rows.
        times_N: int64 [N], unix seconds; None where they were not asked for.
        types_N: int16 [N], the code of each event type plus 1, 0 where it is not known; None where they were not asked
            for.
    """

    offsets_U1: np.ndarray
    items_N: np.ndarray
    times_N: np.ndarray | None = None
    types_N: np.ndarray | None = None

    @classmethod
    def of(cls, interactions: pa.Table, num_users: int, beside: Collection[str] = ()) -> "Sequences":
        """The sequences of interactions that are oldest first for each user.

        Args:
            interactions: columns `user_row`, `item_row` and those of `beside`; several splits may follow one another.
            num_users: U, row 0 included.
            beside: what to hold beside the items, of TIME and TYPE.
        """
        return cls.of_parts([interactions], num_users, interactions.num_rows, beside)

    @classmethod
    def of_parts(
        cls, parts: Iterable[pa.Table], num_users: int, most: int, beside: Collection[str] = ()
    ) -> "Sequences":
        """The sequences of interactions that come in parts of whole users; one part at a time is in memory beside them.

        Args:
            parts: as `of` takes them, each part with users that come after all those of the parts before it.
            num_users: U, row 0 included.
            most: the number of interactions of all parts together, or a larger one.
            beside: what to hold beside the items, of TIME and TYPE.
        """
        offsets_U1, end = np.zeros(num_users + 1, dtype=np.int64), 0
        dtypes: dict[str, type[np.generic]] = {"item_row": np.int32} | {
            name: of for name, of in BESIDE.items() if name in beside
        }
        values = {name: np.empty(min(most, AT_FIRST), dtype) for name, dtype in dtypes.items()}
        for part in in_order(parts, beside):
            offsets_U1[part.first_user + 1 :][: len(part.counts_U)] = part.counts_U
            size = len(part.columns["item_row"])
            for name, of_N in values.items():
                if end + size > len(of_N):
                    of_N.resize(min(max(end + size, len(of_N) + len(of_N) // 4), most), refcheck=False)
                of_N[end : end + size] = part.columns[name]
            end += size
        np.cumsum(offsets_U1, out=offsets_U1)
        beside_N = (values[name][:end] if name in values else None for name in BESIDE)
        return cls(offsets_U1, values["item_row"][:end], *beside_N)

    @classmethod
    def nothing(cls, num_users: int) -> "Sequences":
        """Sequences without any item; `num_users` counts row 0."""
        return cls(np.zeros(num_users + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))

    def latest(self, most: int) -> "Sequences":
        """Each user's latest items, at most so many."""
        is_kept_N = np.repeat(self.offsets_U1[1:] - most, self.lengths_U) <= np.arange(len(self.items_N))
        offsets_U1 = np.append(0, np.cumsum(np.minimum(self.lengths_U, most)))
        beside = (None if of_N is None else of_N[is_kept_N] for of_N in (self.times_N, self.types_N))
        return Sequences(offsets_U1, self.items_N[is_kept_N], *beside)

    def as_part(self) -> "SequencesPart":
        """The items of all users as one part."""
        beside = {name: of_N for name, of_N in ((TIME, self.times_N), (TYPE, self.types_N)) if of_N is not None}
        return SequencesPart(0, self.lengths_U, {"item_row": self.items_N} | beside)

    @property
    def num_users(self) -> int:
        """U, row 0 included."""
        return len(self.offsets_U1) - 1

    @property
    def lengths_U(self) -> np.ndarray:
        """int64 [U]: each user's number of items; a pass over all users."""
        return np.diff(self.offsets_U1)

    def lengths_of(self, user_rows_B: np.ndarray) -> np.ndarray:
        """int64 [B]: the number of items of each of these users."""
        return self.offsets_U1[user_rows_B + 1] - self.offsets_U1[user_rows_B]

    def pair_keys(self, num_items: int) -> np.ndarray:
        """int64 [N]: one number for each pair of user and item, by user; `num_items` counts row 0."""
        owner_N = np.repeat(np.arange(self.num_users, dtype=np.int64), self.lengths_U)
        return pair_keys(owner_N, self.items_N, num_items)

    def distinct_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """User rows and item rows of the distinct (user, item) pairs, int64, sorted by user, then item."""
        num_items = int(self.items_N.max(initial=0)) + 1
        pairs = distinct(self.pair_keys(num_items))
        return pairs // num_items, pairs % num_items

    def distinct_pairs_of(self, user_rows_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct items of these users: the index into `user_rows_B` and the item row, int64, sorted by both."""
        owners, items = self.of_users(user_rows_B)
        num_items = int(items.max(initial=0)) + 1
        pairs = distinct(pair_keys(owners, items, num_items))
        return pairs // num_items, pairs % num_items

    def of_user(self, user_row: int, of_N: np.ndarray | None = None) -> np.ndarray:
        """int32: the item rows of one user, oldest first, as a view that must not be written to.

        Args:
            of_N: values of the interactions, in the order of `items_N`, to take in place of the items.
        """
        of_N = self.items_N if of_N is None else of_N
        return of_N[self.offsets_U1[user_row] : self.offsets_U1[user_row + 1]]

    def of_users(
        self, user_rows_B: np.ndarray, of_N: np.ndarray | None = None, most: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """All items of these users: for each, the index into `user_rows_B` and the item row, user after user.

        Args:
            of_N: values of the interactions, in the order of `items_N`, to take in place of the items.
            most: of each user the latest ones, at most so many; None takes all.
        """
        of_N = self.items_N if of_N is None else of_N
        ends_B, lengths_B = self.offsets_U1[user_rows_B + 1], self.lengths_of(user_rows_B)
        lengths_B = lengths_B if most is None else np.minimum(lengths_B, most)
        owner = np.repeat(np.arange(len(user_rows_B)), lengths_B)
        return owner, of_N[np.repeat(ends_B - np.cumsum(lengths_B), lengths_B) + np.arange(len(owner))]

    def last(self, user_rows_B: np.ndarray, length: int) -> np.ndarray:
        """int32 [B, length]: each user's latest items, oldest first, padded with 0 on the left."""
        return self.before(user_rows_B, self.lengths_of(user_rows_B), length)

    def before(
        self, user_rows_B: np.ndarray, positions_B: np.ndarray, length: int, of_N: np.ndarray | None = None
    ) -> np.ndarray:
        """[B, length]: the items (int32) just before each position, oldest first, padded with 0 on the left.

        Args:
            of_N: values of the interactions, in the order of `items_N`, to take in place of the items.
        """
        within = positions_B[:, None] - length + np.arange(length)
        return self.take(user_rows_B, within, within >= 0, of_N)

    def moments_before(
        self, user_rows_B: np.ndarray, positions_B: np.ndarray, length: int
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Times (int64) and types (int16), each [B, length], of the items that `before` returns; None if not held."""
        times, types = (
            None if of_N is None else self.before(user_rows_B, positions_B, length, of_N)
            for of_N in (self.times_N, self.types_N)
        )
        return times, types

    def take(
        self, user_rows_B: np.ndarray, within_BL: np.ndarray, valid_BL: np.ndarray, of_N: np.ndarray | None = None
    ) -> np.ndarray:
        """[B, L]: each user's items (int32), or values of `of_N`, at these positions; 0 where it is not valid."""
        of_N = self.items_N if of_N is None else of_N
        index = np.where(valid_BL, self.offsets_U1[user_rows_B][:, None] + within_BL, 0)
        return np.where(valid_BL, of_N[index] if len(of_N) else 0, 0).astype(of_N.dtype)


def order_of(interactions: pa.Table) -> np.ndarray:
    """int64 [N]: indices that bring interactions into the order of `Sequences.items_N`: by user, each oldest first."""
    return np.argsort(interactions["user_row"].to_numpy(), kind="stable")


def latest_of(interactions: pa.Table, most: int) -> pa.Table:
    """Each user's latest interactions, at most so many, by user and then oldest first; `order_of` gives their order."""
    order_N = order_of(interactions)
    users_N = interactions["user_row"].to_numpy()[order_N]
    num_from_here_N = np.searchsorted(users_N, users_N, side="right") - np.arange(len(users_N))
    return interactions.take(pa.array(order_N[num_from_here_N <= most]))
