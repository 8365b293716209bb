"""Parts of a measurement: users by how much is known of them, items by how popular they are, and both when cold.

Shape legend: Q queries, N relevant pairs (query, item), U users, I items (row 0 of both = unknown).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking

QUARTERS, TENTHS = 4, 10
USERS, ITEMS = "users by activity", "items by popularity"


@dataclass(frozen=True)
class Slice:
    """Some of the relevant pairs.

    Attributes:
        group: what the slices beside it are made by.
        pairs_N: bool.
    """

    group: str
    name: str
    pairs_N: np.ndarray


def slices(held_out: HeldOut, user_counts_U: np.ndarray, item_counts_I: np.ndarray) -> list[Slice]:
    """Cold users, quarters of the others by activity; cold items, tenths of the others by popularity; no empty ones.

    Args:
        user_counts_U, item_counts_I: interactions in the splits fitted on; cold = none.
    """
    queries_N, items_N = held_out.relevant
    counts_Q = user_counts_U[held_out.user_rows_Q]
    by_user = _sliced(USERS, "users", quarters(counts_Q)[queries_N], counts_Q[queries_N])
    by_item = _sliced(ITEMS, "items", tenths(item_counts_I)[items_N], item_counts_I[items_N])
    return [*by_user, *by_item]


def quarters(counts: np.ndarray) -> np.ndarray:
    """int [...]: 0 = cold, 1 = least active quarter ... 4 = most active; equal counts stay together."""
    known = counts[counts > 0]
    if not len(known):
        return np.zeros(len(counts), dtype=np.int64)
    edges = np.quantile(known, np.arange(1, QUARTERS) / QUARTERS, method="lower")
    return np.where(counts > 0, 1 + np.searchsorted(edges, counts, side="left"), 0)


def tenths(counts_I: np.ndarray) -> np.ndarray:
    """int [I]: 0 = cold, 1 = least popular tenth of the items ... 10 = most popular; ties by row."""
    known = np.flatnonzero(counts_I > 0)
    known = known[np.argsort(counts_I[known], kind="stable")]
    tenth_I = np.zeros(len(counts_I), dtype=np.int64)
    tenth_I[known] = 1 + TENTHS * np.arange(len(known)) // max(len(known), 1)
    return tenth_I


def recall_in(part: Slice, hit_N: np.ndarray, held_out: HeldOut) -> np.ndarray:
    """float64 [Q]: share of the user's relevant items in the slice that were found; NaN where there are none."""
    owners_N, size = held_out.relevant[0][part.pairs_N], len(held_out.user_rows_Q)
    relevant_Q = np.bincount(owners_N, minlength=size)
    found_Q = np.bincount(owners_N, weights=hit_N[part.pairs_N], minlength=size)
    return np.divide(found_Q, relevant_Q, out=np.full(size, np.nan), where=relevant_Q > 0)


def hit_pairs(ranking: Ranking, held_out: HeldOut, num_items: int, k: int) -> np.ndarray:
    """bool [N]: is the relevant item among the first k of its query's ranking?"""
    rows_QK = ranking.rows_QK[:, :k]
    shown = (np.arange(len(rows_QK), dtype=np.int64)[:, None] * num_items + rows_QK)[rows_QK >= 0]
    return np.isin(held_out.relevant[0].astype(np.int64) * num_items + held_out.relevant[1], shown)


def by_chance(held_out: HeldOut, num_items: int, k: int) -> np.ndarray:
    """float64 [Q]: the recall to expect of k unseen items drawn at random."""
    owners, _ = held_out.seen.distinct_pairs()
    num_seen_Q = np.bincount(owners, minlength=len(held_out.seen.lengths_U))[held_out.user_rows_Q]
    return np.minimum(1.0, k / np.maximum(num_items - 1 - num_seen_Q, 1))


def shares_by_tenth(times_I: np.ndarray, tenth_I: np.ndarray) -> list[float]:
    """How what is shown (or relevant) spreads over cold items and the tenths: 11 shares that sum to 1."""
    times = np.bincount(tenth_I, weights=times_I, minlength=TENTHS + 1)
    return [float(share) for share in times / max(times.sum(), 1)]


def _sliced(group: str, what: str, part_N: np.ndarray, counts_N: np.ndarray) -> Iterator[Slice]:
    last = TENTHS if group == ITEMS else QUARTERS
    word = {TENTHS: "tenth", QUARTERS: "quarter"}[last]
    for part in range(last + 1):
        pairs_N = part_N == part
        if not pairs_N.any():
            continue
        low, high = counts_N[pairs_N].min(), counts_N[pairs_N].max()
        span = f"{low}-{high}" if low < high else f"{low}"
        yield Slice(group, f"{word} {part} ({span})" if part else f"cold {what}", pairs_N)
