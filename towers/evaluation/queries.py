"""Held-out queries: the users and relevant items of one split, and what these users had done before it.

A user is a query if a held-out interaction is with an item that the user had not seen before the split. Where repeated
consumption is the task (`evaluate.seen=keep`), items that the user had seen are relevant too, and stay candidates.

Shape legend: Q queries (users).
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST, TRAIN, VALIDATION
from data.sequences.histories import Sequences, pair_keys
from data.sources.event_types import is_negative
from towers.evaluation.config import SeenItems

SAMPLE_SEED = 20
"""Of samples of users, so that two models are compared on the same ones."""


@dataclass(frozen=True)
class HeldOut:
    """The queries of one split: users with relevant items that are new to them.

    Attributes:
        user_rows_Q: int32, the users, ascending.
        relevant: the distinct relevant pairs as two arrays of equal length: query indices and item rows.
        seen: every user's items of the earlier splits that count as seen: they are masked in rankings.
        context_Q: list<string>, the context of each user's first interaction in the split; None where it is not known.
        earlier: every user's positives of the earlier splits, if these are not what they have seen.
    """

    user_rows_Q: np.ndarray
    relevant: tuple[np.ndarray, np.ndarray]
    seen: Sequences
    context_Q: pa.Array | None = None
    earlier: Sequences | None = None

    @classmethod
    def of(
        cls,
        dataset: PreparedDataset,
        split: str,
        seen_items: SeenItems = SeenItems.mask,
        beside: Collection[str] = (),
    ) -> "HeldOut":
        """The queries of `split`; the interactions of all earlier splits are what users have done before.

        Args:
            seen_items: whether items that a user has seen are left out.
            beside: what the histories hold beside the items, which the towers need (`ModelConfig.history_columns`).
        """
        before = (TRAIN,) if split == VALIDATION else (TRAIN, VALIDATION)
        num_items = len(dataset.items.ids)
        earlier = dataset.sequences(*before, beside=beside)
        seen = earlier if not dataset.event_types else dataset.seen(*before)
        if seen_items is SeenItems.keep:
            seen = Sequences.nothing(len(dataset.users.ids))
        held_out = dataset.interactions(split, columns=["user_row", "item_row", "context", "type"])
        held_out = dataset.of_types(held_out, lambda of: of.relevant)
        keys = np.setdiff1d(_keys(held_out, num_items), seen.pair_keys(num_items))
        users, queries = np.unique(keys // num_items, return_inverse=True)
        first_Q = np.searchsorted(held_out["user_row"].to_numpy(), users)
        context_Q = held_out["context"].take(first_Q).combine_chunks()
        relevant = queries, keys % num_items
        return cls(users.astype(np.int32), relevant, seen, context_Q, None if earlier is seen else earlier)

    @cached_property
    def history(self) -> Sequences:
        """Every user's positives of the earlier splits, oldest first: what user vectors are computed from."""
        return self.seen if self.earlier is None else self.earlier

    def take(self, kept: np.ndarray) -> "HeldOut":
        """The queries at the indices `kept`, int64."""
        new_index_Q = np.full(len(self.user_rows_Q), -1)
        new_index_Q[kept] = np.arange(len(kept))
        query_N, items_N = self.relevant
        is_kept_N = new_index_Q[query_N] >= 0
        context_Q = None if self.context_Q is None else self.context_Q.take(pa.array(kept))
        relevant = (new_index_Q[query_N][is_kept_N], items_N[is_kept_N])
        return HeldOut(self.user_rows_Q[kept], relevant, self.seen, context_Q, self.earlier)

    def sample(self, most: int | None) -> "HeldOut":
        """At most so many of the queries, all equally likely; always the same ones of a split. None takes all."""
        num = len(self.user_rows_Q)
        if most is None or num <= most:
            return self
        return self.take(np.sort(np.random.default_rng(SAMPLE_SEED).choice(num, most, replace=False)))

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
        interactions = dataset.interactions(split, columns=["user_row", "item_row", "context", "type"])
        interactions = dataset.of_types(interactions, lambda of: of.relevant)
        num_items, (query_N, items_N) = len(dataset.items.ids), held_out.relevant
        relevant = pair_keys(held_out.user_rows_Q[query_N], items_N, num_items)
        interactions = interactions.filter(pa.array(np.isin(_keys(interactions, num_items), relevant)))
        users_N, items_N = (interactions[name].to_numpy() for name in ("user_row", "item_row"))
        owners_N = np.searchsorted(held_out.user_rows_Q, users_N)
        return cls(owners_N, items_N.astype(np.int64), interactions["context"].combine_chunks())

    def take(self, at: np.ndarray) -> "HeldOutInteractions":
        """The interactions at the indices `at`, int64."""
        return HeldOutInteractions(self.query_N[at], self.item_rows_N[at], self.context_N.take(pa.array(at)))


def unwanted_among(dataset: PreparedDataset, split: str, user_rows_Q: np.ndarray, rows_QK: np.ndarray) -> np.ndarray:
    """float32 [Q, K]: how much items count as explicit negatives of the user in a held-out split; 0 for all others.

    Args:
        rows_QK: int64, item rows; -1 where there is none.
    """
    columns = ["user_row", "item_row", "weight", "type"]
    negatives = dataset.of_types(dataset.others(split, columns=columns), is_negative)
    if not dataset.event_types or not negatives.num_rows:
        return np.zeros(rows_QK.shape, dtype=np.float32)
    num_items = len(dataset.items.ids)
    keys_M, first_M = np.unique(_keys(negatives, num_items), return_index=True)
    weights_M = negatives["weight"].to_numpy()[first_M]
    wanted_QK = pair_keys(user_rows_Q[:, None], rows_QK, num_items)
    at_QK = np.searchsorted(keys_M, wanted_QK).clip(max=len(keys_M) - 1)
    found_QK = (keys_M[at_QK] == wanted_QK) & (rows_QK > 0)
    return np.where(found_QK, weights_M[at_QK], 0).astype(np.float32)


def queries_of(
    dataset: PreparedDataset, seen_items: SeenItems = SeenItems.mask, beside: Collection[str] = ()
) -> HeldOut:
    """The queries of the test part; the arguments are those of `HeldOut.of`.

    Raises:
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    held_out = HeldOut.of(dataset, TEST, seen_items, beside)
    if not len(held_out.user_rows_Q):
        raise ConfigError("test part: no user has an item there that is new to them; change data.split")
    return held_out


def _keys(interactions: Any, num_items: int) -> np.ndarray:
    """int64: one number per pair of user and item."""
    return pair_keys(interactions["user_row"].to_numpy(), interactions["item_row"].to_numpy(), num_items)
