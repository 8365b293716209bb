"""Slices of a measurement: users by their activity, items by their popularity, and the cold ones apart.

Shape legend: Q queries, N relevant pairs (query, item), U users, I items (row 0 of both = unknown).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, batches_of

BATCH = 65_536
"""Queries whose seen items are counted at a time."""

NUM_QUARTILES, NUM_DECILES = 4, 10

COLD_USERS = "users without training data"
"""The group of slices of towers/evaluation/decisions/placement.py."""


@dataclass(frozen=True)
class Slice:
    """Some of the relevant pairs.

    Attributes:
        group: the attribute by which the slices of a group divide the pairs, as it is printed.
        name: the slice's name as it is printed, with the range of the interaction counts in it.
        pairs_N: bool; the pairs that belong to the slice.
    """

    group: str
    name: str
    pairs_N: np.ndarray


def slices(held_out: HeldOut, user_counts_U: np.ndarray, item_counts_I: np.ndarray) -> list[Slice]:
    """Divides the relevant pairs by user activity and, independently, by item popularity. Empty slices are left out.

    Users: the cold ones, and quartiles of the others by activity. Items: the cold ones, and deciles of the others by
    popularity.

    Args:
        user_counts_U, item_counts_I: interactions in the splits that the model was fitted on; cold means none.
    """
    queries_N, items_N = held_out.relevant
    counts_Q = user_counts_U[held_out.user_rows_Q]
    by_user = _divide("users by activity", "users", "quartile", quartiles(counts_Q)[queries_N], counts_Q[queries_N])
    by_item = _divide("items by popularity", "items", "decile", deciles(item_counts_I)[items_N], item_counts_I[items_N])
    return [*by_user, *by_item]


def quartiles(counts: np.ndarray) -> np.ndarray:
    """int [...]: 0 = cold, 1 = least active quartile ... 4 = most active; equal counts fall into the same quartile."""
    known = counts[counts > 0]
    if not len(known):
        return np.zeros(len(counts), dtype=np.int64)
    edges = np.quantile(known, np.arange(1, NUM_QUARTILES) / NUM_QUARTILES, method="lower")
    return np.where(counts > 0, 1 + np.searchsorted(edges, counts, side="left"), 0)


def deciles(counts_I: np.ndarray) -> np.ndarray:
    """int [I]: 0 = cold, 1 = least popular decile of the items ... 10 = most popular; ties are broken by row."""
    known = np.flatnonzero(counts_I > 0)
    known = known[np.argsort(counts_I[known], kind="stable")]
    decile_I = np.zeros(len(counts_I), dtype=np.int64)
    decile_I[known] = 1 + NUM_DECILES * np.arange(len(known)) // max(len(known), 1)
    return decile_I


def recall_in(part: Slice, hit_N: np.ndarray, held_out: HeldOut) -> np.ndarray:
    """float64 [Q]: share of the user's relevant items in the slice that were found; NaN where there are none."""
    owners_N, size = held_out.relevant[0][part.pairs_N], len(held_out.user_rows_Q)
    relevant_Q = np.bincount(owners_N, minlength=size)
    found_Q = np.bincount(owners_N, weights=hit_N[part.pairs_N], minlength=size)
    return np.divide(found_Q, relevant_Q, out=np.full(size, np.nan), where=relevant_Q > 0)


def hit_pairs(ranking: Ranking, held_out: HeldOut, num_items: int, k: int) -> np.ndarray:
    """bool [N]: whether the relevant item is among the first k of its query's ranking."""
    rows_QK = ranking.rows_QK[:, :k]
    recommended = (np.arange(len(rows_QK), dtype=np.int64)[:, None] * num_items + rows_QK)[rows_QK >= 0]
    return np.isin(held_out.relevant[0].astype(np.int64) * num_items + held_out.relevant[1], recommended)


def random_recall(held_out: HeldOut, num_items: int, k: int) -> np.ndarray:
    """float64 [Q]: the expected recall of k unseen items drawn at random; `num_items` includes row 0."""
    num_seen_Q = np.zeros(len(held_out.user_rows_Q), dtype=np.int64)
    for at in batches_of(len(num_seen_Q), BATCH):
        owners, _ = held_out.seen.distinct_pairs_of(held_out.user_rows_Q[at])
        num_seen_Q[at] = np.bincount(owners, minlength=len(num_seen_Q[at]))
    return np.minimum(1.0, k / np.maximum(num_items - 1 - num_seen_Q, 1))


def shares_by_decile(times_I: np.ndarray, decile_I: np.ndarray) -> list[float]:
    """How recommended (or relevant) items spread over the cold ones and the deciles: 11 shares that sum to 1.

    Args:
        times_I: how often each item is recommended (or relevant).
        decile_I: of `deciles`.
    """
    times = np.bincount(decile_I, weights=times_I, minlength=NUM_DECILES + 1)
    return [float(share) for share in times / max(times.sum(), 1)]


def _divide(group: str, entities: str, quantile: str, part_N: np.ndarray, counts_N: np.ndarray) -> Iterator[Slice]:
    """One slice per value of `part_N` (0 = cold), in ascending order; names carry the range of `counts_N` in them."""
    for part in np.unique(part_N):
        pairs_N = part_N == part
        low, high = counts_N[pairs_N].min(), counts_N[pairs_N].max()
        span = f"{low}-{high}" if low < high else f"{low}"
        yield Slice(group, f"{quantile} {part} ({span})" if part else f"cold {entities}", pairs_N)
