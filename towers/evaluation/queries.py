"""Held-out queries: the users and relevant items of one split, and what these users had done before it.

A user is a query if a held-out interaction is with an item that the user had not seen before the split. Where repeated
consumption is the task (`evaluate.seen=keep`), items that the user had seen are relevant too, and stay candidates.

Shape legend: Q queries (users).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.dataset.prepared import PreparedDataset
from data.dataset.schema import INTERACTIONS
from data.dataset.split import TEST, TRAIN, VALIDATION
from data.sequences.histories import Sequences, latest_of, pair_keys
from data.sequences.membership import distinct, is_among
from data.sources.event_types import is_negative
from towers.evaluation.config import LATEST, SeenItems
from towers.evaluation.intervals import drawn


@dataclass(frozen=True)
class HeldOut:
    """The queries of one split: users with relevant items that are new to them.

    Attributes:
        user_rows_Q: int32, the users, ascending.
        relevant: the distinct relevant pairs as two arrays of equal length: query indices and item rows.
        seen: the items of the queries' users in earlier splits that count as seen: they are masked in rankings.
        context_Q: list<string>, the context of each user's first interaction in the split; None where it is not known.
        earlier: the positives of the queries' users in earlier splits, if these are not what they have seen.
        sampled_from: the number of the split's queries that these were drawn from; None where they are all.
    """

    user_rows_Q: np.ndarray
    relevant: tuple[np.ndarray, np.ndarray]
    seen: Sequences
    context_Q: pa.Array | None = None
    earlier: Sequences | None = None
    sampled_from: int | None = None

    @classmethod
    def of(
        cls,
        dataset: PreparedDataset,
        split: str,
        seen_items: SeenItems = SeenItems.mask,
        beside: Collection[str] = (),
        most: int | None = None,
    ) -> "HeldOut":
        """The queries of `split`; the interactions of all earlier splits are what users have done before.

        They are found part by part (`PreparedDataset.parts`), and only their users' items are held.

        Args:
            seen_items: whether items that a user has seen are left out.
            beside: what the histories hold beside the items, which the towers need (`ModelConfig.history_columns`).
            most: take at most so many of the queries, those that `sample` would take. None takes all.
        """
        before, num_items, users_U, num = earlier_splits(split), dataset.items.num_rows, None, None
        if most is not None:
            users_Q = np.concatenate([_NO_USERS, *(of.users for of in _parts(dataset, split, seen_items))])
            if len(users_Q) > most:
                num, users_U = len(users_Q), np.zeros(dataset.users.num_rows, dtype=bool)
                users_U[users_Q[drawn(num, most)]] = True
        parts = list(_parts(dataset, split, seen_items, users_U))
        users_Q = np.concatenate([_NO_USERS, *(of.users for of in parts)])
        keys = np.concatenate([np.zeros(0, np.int64), *(of.keys for of in parts)])
        context_Q = pa.chunked_array([of.context for of in parts], INTERACTIONS.field("context").type).combine_chunks()
        users_U = np.zeros(dataset.users.num_rows, dtype=bool)
        users_U[users_Q] = True
        earlier = dataset.sequences(*before, beside=beside, users_U=users_U)
        if seen_items is SeenItems.keep:
            seen = Sequences.nothing(dataset.users.num_rows)
        elif seen_items is SeenItems.mask_200:
            seen = earlier.latest(LATEST)
        else:
            seen = dataset.seen(*before, users_U=users_U) if dataset.event_types else earlier
        relevant = np.searchsorted(users_Q, keys // num_items), keys % num_items
        return cls(users_Q, relevant, seen, context_Q, None if earlier is seen else earlier, num)

    @cached_property
    def history(self) -> Sequences:
        """The positives of the queries' users in earlier splits, oldest first: what user vectors are computed from."""
        return self.seen if self.earlier is None else self.earlier

    def take(self, kept: np.ndarray) -> "HeldOut":
        """The queries at the indices `kept`, int64."""
        new_index_Q = np.full(len(self.user_rows_Q), -1)
        new_index_Q[kept] = np.arange(len(kept))
        query_N, items_N = self.relevant
        is_kept_N = new_index_Q[query_N] >= 0
        context_Q = None if self.context_Q is None else self.context_Q.take(pa.array(kept))
        relevant = (new_index_Q[query_N][is_kept_N], items_N[is_kept_N])
        return HeldOut(self.user_rows_Q[kept], relevant, self.seen, context_Q, self.earlier, self.sampled_from)

    def sample(self, most: int | None) -> "HeldOut":
        """At most so many of the queries, all equally likely; always the same ones of a split. None takes all."""
        num = len(self.user_rows_Q)
        if most is None or num <= most:
            return self
        return replace(self.take(drawn(num, most)), sampled_from=num)

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
        num_items, (query_N, items_N) = dataset.items.num_rows, held_out.relevant
        relevant = np.sort(pair_keys(held_out.user_rows_Q[query_N], items_N, num_items))
        parts = [
            of.filter(pa.array(is_among(_keys(of, num_items), relevant)))
            for of in (_held_out(dataset, split, name) for name in dataset.part_names(split))
        ]
        interactions = pa.concat_tables(parts) if parts else dataset.interactions(split)
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
    num_items, columns = dataset.items.num_rows, ["user_row", "item_row", "weight", "type"]
    wanted_QK = np.where(rows_QK > 0, pair_keys(user_rows_Q[:, None], rows_QK, num_items), -1)
    wanted, keys, weights = distinct(wanted_QK.ravel()), [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for part in dataset.parts(split, columns=columns, kinds=("others",)):  # of each, what is asked for is held
        negatives = dataset.of_types(part, is_negative)
        keys_N = _keys(negatives, num_items)
        is_wanted_N = is_among(keys_N, wanted)
        keys.append(keys_N[is_wanted_N])
        weights.append(negatives["weight"].to_numpy()[is_wanted_N])
    keys_M, first_M = np.unique(np.concatenate(keys), return_index=True)
    weights_M = np.append(np.concatenate(weights)[first_M], np.float32(0))
    return weights_M[np.where(is_among(wanted_QK, keys_M), np.searchsorted(keys_M, wanted_QK), len(keys_M))]


def queries_of(
    dataset: PreparedDataset,
    seen_items: SeenItems = SeenItems.mask,
    beside: Collection[str] = (),
    most: int | None = None,
) -> HeldOut:
    """The queries of the test part; the arguments are those of `HeldOut.of`.

    Raises:
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    check_queries(dataset, seen_items)
    return HeldOut.of(dataset, TEST, seen_items, beside, most)


def check_queries(dataset: PreparedDataset, seen_items: SeenItems = SeenItems.mask) -> None:
    """Raises ConfigError if no user has a test interaction with an item that is new to them."""
    if not has_queries(dataset, TEST, seen_items):
        raise ConfigError("test part: no user has an item there that is new to them; set data.split or evaluate.seen")


def has_queries(dataset: PreparedDataset, split: str, seen_items: SeenItems = SeenItems.mask) -> bool:
    """Whether a split has queries: it has none where its interactions are with items that their users have seen."""
    return any(len(part.users) for part in _parts(dataset, split, seen_items))


def earlier_splits(split: str) -> tuple[str, ...]:
    """The splits before the validation or the test part."""
    return (TRAIN,) if split == VALIDATION else (TRAIN, VALIDATION)


_NO_USERS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class _Part:
    """The queries in a part of a dataset: their users, ascending, first contexts, and all relevant pairs, ascending."""

    users: np.ndarray
    context: pa.Array
    keys: np.ndarray


def _parts(
    dataset: PreparedDataset, split: str, seen_items: SeenItems, users_U: np.ndarray | None = None
) -> Iterator[_Part]:
    """The queries of a split, part by part; each part's users come after those of the parts before it.

    Args:
        users_U: bool, by row, the users who are wanted; None means all.

    Raises:
        ConfigError: `seen_items` cannot be told of this log.
    """
    if seen_items is SeenItems.mask_200 and dataset.event_types:  # positives and others are not in one order of time
        raise ConfigError("evaluate.seen: mask_200 is for logs without event types; set data.positive_from=null")
    num_items, kinds = dataset.items.num_rows, ("interactions", "others") if dataset.event_types else ("interactions",)
    columns = ["user_row", "item_row", *(["type"] if dataset.event_types else [])]
    for name in dataset.part_names(split):
        held_out = _held_out(dataset, split, name, users_U)
        keys = np.unique(_keys(held_out, num_items))
        if seen_items is not SeenItems.keep:
            earlier = dataset.part(name, *earlier_splits(split), columns=columns, kinds=kinds, users_U=users_U)
            seen = dataset.of_types(earlier, lambda of: of.is_seen)
            seen = seen if seen_items is SeenItems.mask else latest_of(seen, LATEST)
            keys = keys[~is_among(keys, np.sort(_keys(seen, num_items)))]
        users = np.unique(keys // num_items).astype(np.int32)
        first = np.searchsorted(held_out["user_row"].to_numpy(), users)
        yield _Part(users, held_out["context"].take(pa.array(first)).combine_chunks(), keys)


def _held_out(dataset: PreparedDataset, split: str, name: str, users_U: np.ndarray | None = None) -> pa.Table:
    """The interactions of a part of a held-out split that are relevant by their types."""
    held_out = dataset.part(name, split, columns=["user_row", "item_row", "context", "type"], users_U=users_U)
    return dataset.of_types(held_out, lambda of: of.relevant)


def _keys(interactions: Any, num_items: int) -> np.ndarray:
    """int64: one number per pair of user and item."""
    return pair_keys(interactions["user_row"].to_numpy(), interactions["item_row"].to_numpy(), num_items)
