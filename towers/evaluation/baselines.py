"""Baselines that recommend without any training. A model that is worse than one of them is of no use.

Shape legend: B queries of a batch, Q queries, U users, I items (row 0 = unknown), N interactions, K ranks.
"""

from typing import TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from towers.evaluation.config import RANKS, Baseline, EvaluateConfig
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, rank, rank_by_popularity
from towers.evaluation.retrieval import ScoreColumns
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.graph import degree_normalised
from towers.model.tie_order import TieOrder

POPULARITY_EXPONENT = 0.25
"""How much the item-item filter favours popular items; chosen on the validation part of Gowalla."""

MAX_PAIRS = 300_000_000
"""Limit on the number of pairs of items that share a user (8 bytes each), by which users are sampled.

The limit is ten times as high where the catalogue's matrix of all pairs has at most MAX_PAIRS entries.
"""

DENSE_ITEMS = 8_192
"""Largest number of items whose filter weights are held in a dense matrix."""

TIE = 1e-7
"""Weight of popularity in the scores of the filter, which does no more than break ties."""

Weights: TypeAlias = sparse.csr_array | np.ndarray
"""float32 [I, I]: from a seen item (row) to a candidate (column)."""


def baseline_rankings(
    dataset: PreparedDataset,
    held_out: HeldOut,
    fit_on: FittedSplits,
    config: EvaluateConfig,
    ties: TieOrder | None = None,
) -> tuple[dict[str, Ranking], list[str]]:
    """Rankings of the configured baselines, and notes for the reader of the report."""
    counts_I, rankings, notes = interaction_counts(dataset.items, fit_on), {}, []
    for baseline in config.baselines:
        match baseline:
            case Baseline.popularity:
                rankings[baseline.value] = rank_by_popularity(held_out, counts_I, config.batch_size, ties=ties)
            case Baseline.recent_popularity:
                recent_I = recent_counts(dataset, fit_on.splits, config.recent_share, len(counts_I))
                if recent_I is None:
                    notes.append("no recent popularity: the log has no timestamps")
                else:
                    rankings[baseline.value] = rank_by_popularity(held_out, recent_I, config.batch_size, ties=ties)
            case Baseline.item_item:
                weights_II, every = item_filter(dataset.sequences(*fit_on.splits), len(counts_I))
                rankings[baseline.value] = rank_by_filter(weights_II, held_out, counts_I, config.batch_size, ties=ties)
                if every > 1:
                    notes.append(f"item-item filter fitted on one user in {every}: more pairs than fit into memory")
    return rankings, notes


def recent_counts(dataset: PreparedDataset, splits: tuple[str, ...], share: float, num_items: int) -> np.ndarray | None:
    """int64 [I]: interactions of each item in the latest `share` of those fitted on; None where the log has no times.

    The dataset's manifest says whether the log has times. In datasets of earlier versions, whose manifests do not, the
    time of an interaction in a log without times is its index in the log, which is below the log's length.
    """
    interactions = dataset.interactions(*splits, columns=["item_row", "time"])
    time, clock = interactions["time"].to_numpy(), dataset.clock
    if not len(time) or (clock is not None and not clock.has_clock):
        return None
    if clock is None and time.max() < dataset.manifest["counts"]["raw_interactions"]:
        return None
    latest = np.partition(time, -_at_least_one(share * len(time)))[-_at_least_one(share * len(time))]
    return np.bincount(interactions["item_row"].to_numpy()[time >= latest], minlength=num_items)


def rank_by_filter(
    weights_II: Weights,
    held_out: HeldOut,
    counts_I: np.ndarray,
    batch_size: int,
    k: int = RANKS,
    ties: TieOrder | None = None,
) -> Ranking:
    """Ranks items by the sum of their weights from all items that the user has seen.

    Ties, and items without any weight, are ordered by popularity, and then by `ties` (None: by row).
    """
    ties = ties or TieOrder.of(len(counts_I), None)
    weights_IT = _with_columns(weights_II, ties)
    tie_I = torch.from_numpy((TIE * counts_I / max(counts_I.max(), 1)).astype(np.float32))
    owners_N, items_N = held_out.seen.distinct_pairs()
    shape = (len(held_out.seen.lengths_U), len(counts_I))
    seen_UI = sparse.csr_array((np.ones(len(owners_N), np.float32), (owners_N, items_N)), shape=shape)

    tie_T = tie_I[torch.from_numpy(ties.rows_I)]

    def scores(at: slice) -> tuple[Tensor, Tensor]:
        product = seen_UI[held_out.user_rows_Q[at]] @ weights_IT
        scores_BT = torch.from_numpy(product if isinstance(product, np.ndarray) else product.toarray())
        return scores_BT.add_(tie_T), torch.zeros(len(scores_BT), dtype=torch.bool)

    return rank(scores, held_out, batch_size, ScoreColumns.of(ties), k, threads=torch.get_num_threads())


def _with_columns(weights_II: Weights, ties: TieOrder) -> Weights:
    """The weights with their columns in the order in which ties fall."""
    if np.array_equal(ties.rows_I, np.arange(len(ties.rows_I))):
        return weights_II
    if isinstance(weights_II, np.ndarray):
        return weights_II[:, ties.rows_I]
    columns = ties.rank_I[weights_II.indices]
    return sparse.csr_array((weights_II.data, columns, weights_II.indptr), shape=weights_II.shape)


def item_filter(sequences: Sequences, num_items: int) -> tuple[Weights, int]:
    """One-hop item-item weights w_ji = S_ji / |S_j| [I, I], and n, where every n-th user was used.

    S = A'A D_i^1/4 with A = D_u^-1/2 R D_i^-1/2 (towers/model/graph.py). A'A is the linear filter of Shen et al. (2021,
    "How Powerful is Graph Convolution for Recommendation?"). Two departures from it: rows have unit length, so that all
    seen items count equally, and the factor D_i^1/4 favours popular items. n is above 1 where the pairs of items of all
    users would not fit into memory.
    """
    edges = degree_normalised(sequences, num_items)
    users_N, items_N = edges.indices().numpy()
    pairs = int((np.bincount(users_N).astype(np.int64) ** 2).sum())
    every = max(-(-pairs // (MAX_PAIRS if num_items**2 > MAX_PAIRS else 10 * MAX_PAIRS)), 1)
    kept_UI = sparse.csr_array((edges.values().numpy(), (users_N, items_N)), shape=tuple(edges.shape))[::every]
    popularity_I = np.bincount(items_N, minlength=num_items).astype(np.float32) ** POPULARITY_EXPONENT
    weighted_UI = kept_UI.copy()
    weighted_UI.data *= popularity_I[weighted_UI.indices]
    weights_II = (kept_UI.T.tocsr() @ weighted_UI).tocsr()
    length_N = np.repeat(_row_lengths(weights_II), np.diff(weights_II.indptr))
    weights_II.data /= length_N
    return (weights_II.toarray() if num_items <= DENSE_ITEMS else weights_II), every


def _row_lengths(matrix: sparse.csr_array) -> np.ndarray:
    """float32 [rows]: Euclidean length of each row."""
    sums = np.concatenate([[0.0], np.cumsum(matrix.data.astype(np.float64) ** 2)])
    return np.sqrt(np.diff(sums[matrix.indptr])).astype(np.float32)


def _at_least_one(number: float) -> int:
    return max(round(number), 1)
