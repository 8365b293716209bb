"""Floors: what recommends without any training. A tower below one of them has failed.

Shape legend: B queries of a batch, Q queries, I items (row 0 = unknown), K ranks.
"""

from enum import Enum
from typing import TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import RANKS, Ranking, rank
from towers.model.graph import degree_normalised

POPULARITY_EXPONENT = 0.25
"""How far the filter leans to popular items; chosen on Gowalla's validation part."""

MAX_PAIRS = 300_000_000
"""Pairs of items with a user in common that are held (8 bytes each); ten times as many are counted."""

DENSE_ITEMS = 8_192
"""Catalogues up to this size have their pairs in a dense matrix."""

TIE = 1e-7

Weights: TypeAlias = sparse.csr_array | np.ndarray


class Floor(Enum):
    """What is measured beside the towers, in the same run."""

    popularity = "popularity"  # the items with most interactions among those fitted on
    recent_popularity = "recent popularity"  # those with most in the latest share of them; needs a log with a clock
    item_item = "item-item filter"  # one hop over the interaction graph


def recent_counts(dataset: PreparedDataset, splits: tuple[str, ...], share: float, num_items: int) -> np.ndarray | None:
    """int64 [I]: interactions of each item in the latest `share` of those fitted on; None where the log has no clock.

    The time of a log without a clock is the position in the log, which is below the number of interactions.
    """
    interactions = dataset.interactions(*splits, columns=["item_row", "time"])
    time = interactions["time"].to_numpy()
    if not len(time) or time.max() < dataset.manifest["counts"]["raw_interactions"]:
        return None
    latest = np.partition(time, -_at_least_one(share * len(time)))[-_at_least_one(share * len(time))]
    return np.bincount(interactions["item_row"].to_numpy()[time >= latest], minlength=num_items)


def rank_by_filter(
    weights_II: Weights, held_out: HeldOut, counts_I: np.ndarray, batch_size: int, k: int = RANKS
) -> Ranking:
    """Items by the sum of their weights from all items that the user has seen; ties, and the rest, by popularity."""
    tie_I = torch.from_numpy((TIE * counts_I / max(counts_I.max(), 1)).astype(np.float32))
    owners_N, items_N = held_out.seen.distinct_pairs()
    shape = (len(held_out.seen.lengths_U), len(counts_I))
    seen_UI = sparse.csr_array((np.ones(len(owners_N), np.float32), (owners_N, items_N)), shape=shape)

    def scores(at: slice) -> tuple[Tensor, Tensor]:
        product = seen_UI[held_out.user_rows_Q[at]] @ weights_II
        scores_BI = torch.from_numpy(product if isinstance(product, np.ndarray) else product.toarray())
        return scores_BI.add_(tie_I), torch.zeros(len(scores_BI), dtype=torch.bool)

    return rank(scores, held_out, batch_size, k, threads=torch.get_num_threads())


def item_filter(sequences: Sequences, num_items: int) -> tuple[Weights, int]:
    """One-hop item-item weights w_ji = S_ji / |S_j| [I, I], and n where only every n-th user fits into memory.

    S = A'A D_i^1/4 with A = D_u^-1/2 R D_i^-1/2 (towers/model/graph.py): A'A is the linear filter of Shen et al. (2021, "How
    Powerful is Graph Convolution for Recommendation?"). Rows of unit length, so that each seen item says equally much,
    and the lean to popular items are departures from it.
    """
    edges = degree_normalised(sequences, num_items)
    users_N, items_N = edges.indices().numpy()
    pairs = int((np.bincount(users_N).astype(np.int64) ** 2).sum())
    every = max(-(-pairs // (MAX_PAIRS if num_items**2 > MAX_PAIRS else 10 * MAX_PAIRS)), 1)
    kept_UI = sparse.csr_array((edges.values().numpy(), (users_N, items_N)), shape=tuple(edges.shape))[::every]
    leaning_I = np.bincount(items_N, minlength=num_items).astype(np.float32) ** POPULARITY_EXPONENT
    leaned_UI = kept_UI.copy()
    leaned_UI.data *= leaning_I[leaned_UI.indices]
    weights_II = (kept_UI.T.tocsr() @ leaned_UI).tocsr()
    length_N = np.repeat(_row_lengths(weights_II), np.diff(weights_II.indptr))
    weights_II.data /= length_N
    return (weights_II.toarray() if num_items <= DENSE_ITEMS else weights_II), every


def _row_lengths(matrix: sparse.csr_array) -> np.ndarray:
    """float32 [rows]: Euclidean lengths."""
    sums = np.concatenate([[0.0], np.cumsum(matrix.data.astype(np.float64) ** 2)])
    return np.sqrt(np.diff(sums[matrix.indptr])).astype(np.float32)


def _at_least_one(number: float) -> int:
    return max(round(number), 1)
