"""Held-out queries: the users and relevant items of one split, and what these users had seen before it.

A user is a query if a held-out interaction is with an item that the user had not seen before the split.

Shape legend: Q queries (users).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST, TRAIN, VALIDATION
from data.sequences.histories import Sequences


@dataclass(frozen=True)
class HeldOut:
    """The queries of one split: users with relevant items that are new to them.

    Attributes:
        user_rows_Q: int32, the users, ascending.
        relevant: the distinct relevant pairs as two arrays of equal length: query indices and item rows.
        seen: every user's items of the earlier splits: they are masked in rankings, and are the user's history.
        context_Q: list<string>, the context of each user's first interaction in the split; None where it is not known.
    """

    user_rows_Q: np.ndarray
    relevant: tuple[np.ndarray, np.ndarray]
    seen: Sequences
    context_Q: pa.Array | None = None

    @classmethod
    def of(cls, dataset: PreparedDataset, split: str) -> "HeldOut":
        """The queries of `split`; the interactions of all earlier splits are what users have seen."""
        before = (TRAIN,) if split == VALIDATION else (TRAIN, VALIDATION)
        num_users, num_items = len(dataset.users.ids), len(dataset.items.ids)
        seen_pairs = dataset.interactions(*before, columns=["user_row", "item_row"])
        held_out = dataset.interactions(split, columns=["user_row", "item_row", "context"])
        keys = np.setdiff1d(_keys(held_out, num_items), _keys(seen_pairs, num_items))
        users, queries = np.unique(keys // num_items, return_inverse=True)
        seen, first_Q = Sequences.of(seen_pairs, num_users), np.searchsorted(held_out["user_row"].to_numpy(), users)
        context_Q = held_out["context"].take(first_Q).combine_chunks()
        return cls(users.astype(np.int32), (queries, keys % num_items), seen, context_Q)

    def take(self, kept: np.ndarray) -> "HeldOut":
        """The queries at the indices `kept`, int64."""
        new_index_Q = np.full(len(self.user_rows_Q), -1)
        new_index_Q[kept] = np.arange(len(kept))
        query_N, items_N = self.relevant
        is_kept_N = new_index_Q[query_N] >= 0
        context_Q = None if self.context_Q is None else self.context_Q.take(pa.array(kept))
        relevant = (new_index_Q[query_N][is_kept_N], items_N[is_kept_N])
        return HeldOut(self.user_rows_Q[kept], relevant, self.seen, context_Q)

    @property
    def num_relevant_Q(self) -> np.ndarray:
        """int64 [Q]: relevant items of each query, at least 1."""
        return np.bincount(self.relevant[0], minlength=len(self.user_rows_Q))


@dataclass(frozen=True)
class HeldOutInteractions:
    """The single interactions behind the queries of a split, each with the context that it came with.

    Shape legend: N interactions.

    Attributes:
        query_N: int64, index of the user's query.
        item_rows_N: int64, the item; it is among the relevant items of that query.
        context_N: list<string>.
    """

    query_N: np.ndarray
    item_rows_N: np.ndarray
    context_N: pa.Array

    @classmethod
    def of(cls, dataset: PreparedDataset, split: str, held_out: HeldOut) -> "HeldOutInteractions":
        """The interactions of `split` with items that are new to their users: those that `held_out` was made of."""
        interactions = dataset.interactions(split, columns=["user_row", "item_row", "context"])
        num_items, (query_N, items_N) = len(dataset.items.ids), held_out.relevant
        relevant = held_out.user_rows_Q[query_N].astype(np.int64) * num_items + items_N
        interactions = interactions.filter(pa.array(np.isin(_keys(interactions, num_items), relevant)))
        users_N, items_N = (interactions[name].to_numpy() for name in ("user_row", "item_row"))
        owners_N = np.searchsorted(held_out.user_rows_Q, users_N)
        return cls(owners_N, items_N.astype(np.int64), interactions["context"].combine_chunks())

    def take(self, at: np.ndarray) -> "HeldOutInteractions":
        """The interactions at the indices `at`, int64."""
        return HeldOutInteractions(self.query_N[at], self.item_rows_N[at], self.context_N.take(pa.array(at)))


def queries_of(dataset: PreparedDataset) -> HeldOut:
    """The queries of the test part.

    Raises:
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    held_out = HeldOut.of(dataset, TEST)
    if not len(held_out.user_rows_Q):
        raise ConfigError("test part: no user has an item there that is new to them; change data.split")
    return held_out


def _keys(interactions: Any, num_items: int) -> np.ndarray:
    """int64: one number per pair of user and item."""
    users = interactions["user_row"].to_numpy().astype(np.int64)
    return users * num_items + interactions["item_row"].to_numpy()
