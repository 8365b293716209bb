"""The item-item filter: one hop over the interaction graph, without any training.

Shape legend: B queries of a batch, Q queries, U users, I items (row 0 = unknown), N interactions, K ranks.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from data.sequences.histories import Sequences
from towers.evaluation.config import RANKS
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import BLOCK_ITEMS, Ranking, rank
from towers.evaluation.retrieval import ScoreColumns
from towers.model.graph import degrees, normalised_of_some
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


def rank_by_filter(
    weights_II: Weights,
    held_out: HeldOut,
    popular_I: np.ndarray,
    batch_size: int,
    k: int = RANKS,
    ties: TieOrder | None = None,
) -> Ranking:
    """Ranks items by the sum of their weights from all items of the user's history.

    Ties, and items without any weight, are ordered by popularity, and then by `ties` (None: by row).
    """
    ties = ties or TieOrder.of(len(popular_I), None)
    weights_IT = _with_columns(weights_II, ties)
    tie_I = torch.from_numpy((TIE * popular_I / max(popular_I.max(), 1)).astype(np.float32))
    owners_N, items_N = held_out.history.distinct_pairs()
    shape = (held_out.history.num_users, len(popular_I))
    seen_UI = sparse.csr_array((np.ones(len(owners_N), np.float32), (owners_N, items_N)), shape=shape)

    tie_T = tie_I[torch.from_numpy(ties.rows_I)]

    def scores(at: slice) -> tuple[Iterator[Tensor], Tensor]:
        product = seen_UI[held_out.user_rows_Q[at]] @ weights_IT
        blocks = (block.add_(tie_T[start : start + block.shape[1]]) for start, block in _dense_blocks(product))
        return blocks, torch.zeros(product.shape[0], dtype=torch.bool)

    return rank(scores, held_out, batch_size, ScoreColumns.of(ties), k, threads=torch.get_num_threads())


def _dense_blocks(product_BT: Weights) -> Iterator[tuple[int, Tensor]]:
    """The first column and the values of each block of BLOCK_ITEMS columns of a product, one after the other."""
    by_column = product_BT if isinstance(product_BT, np.ndarray) else product_BT.tocsc()
    for start in range(0, product_BT.shape[1], BLOCK_ITEMS):
        block = by_column[:, start : start + BLOCK_ITEMS]
        yield start, torch.from_numpy(block if isinstance(block, np.ndarray) else block.toarray(order="C"))


def _with_columns(weights_II: Weights, ties: TieOrder) -> Weights:
    """The weights with their columns in the order in which ties fall."""
    if np.array_equal(ties.rows_I, np.arange(len(ties.rows_I))):
        return weights_II
    if isinstance(weights_II, np.ndarray):
        return weights_II[:, ties.rows_I]
    columns = ties.rank_I[weights_II.indices]
    return sparse.csr_array((weights_II.data, columns, weights_II.indptr), shape=weights_II.shape)


def item_filter(sequences: Sequences, num_items: int, exponent: float = POPULARITY_EXPONENT) -> tuple[Weights, int]:
    """One-hop item-item weights w_ji = S_ji / |S_j| [I, I], and n, where every n-th user was used.

    S = A'A D_i^1/4 with A = D_u^-1/2 R D_i^-1/2 (towers/model/graph.py). A'A is the linear filter of Shen et al. (2021,
    "How Powerful is Graph Convolution for Recommendation?"). Two departures from it: rows have unit length, so that all
    seen items count equally, and the factor D_i^1/4 (D_i^exponent) favours popular items. n is above 1 where the pairs
    of items of all users would not fit into memory.
    """
    degree_U, degree_I = degrees(sequences, num_items)
    pairs = int((degree_U**2).sum())
    every = max(-(-pairs // (MAX_PAIRS if num_items**2 > MAX_PAIRS else 10 * MAX_PAIRS)), 1)
    kept_UI = normalised_of_some(sequences, degree_U, degree_I, every)
    popularity_I = degree_I.astype(np.float32) ** exponent
    weighted_UI = kept_UI.copy()
    weighted_UI.data *= popularity_I[weighted_UI.indices]
    weights_II = (kept_UI.T.tocsr() @ weighted_UI).tocsr()
    length_N = np.repeat(_row_lengths(weights_II), np.diff(weights_II.indptr))
    weights_II.data /= length_N
    return (weights_II.toarray() if num_items <= DENSE_ITEMS else weights_II), every


def fitted_on(every: int) -> str:
    """That the filter was fitted on every n-th user, in words."""
    return f"fitted on one user in {every}: more pairs than fit into memory"


def _row_lengths(matrix: sparse.csr_array) -> np.ndarray:
    """float32 [rows]: Euclidean length of each row."""
    sums = np.concatenate([[0.0], np.cumsum(matrix.data.astype(np.float64) ** 2)])
    return np.sqrt(np.diff(sums[matrix.indptr])).astype(np.float32)
