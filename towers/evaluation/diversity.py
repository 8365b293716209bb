"""Intra-list diversity: how unlike each other are the items that one user is shown.

Shape legend: Q queries, K ranks, U users, I items (row 0 of both = unknown).
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from data.sequences.histories import Sequences
from towers.model.graph import degree_normalised

SAMPLE = 5_000
"""Users looked at, at most: means move little after that, and every pair of every list is a lot of pairs."""


@dataclass(frozen=True)
class ItemLikeness:
    """Cosines of items by their users; a user of few items says more of them than one of many (D_u^-1/2 R).

    Attributes:
        unit_IU: sparse float32, rows of length 1; 0 where an item has no user.
    """

    unit_IU: sparse.csr_array

    @classmethod
    def of(cls, sequences: Sequences, num_items: int) -> "ItemLikeness":
        edges = degree_normalised(sequences, num_items)
        users_N, items_N = edges.indices().numpy()
        values_N = edges.values().numpy()
        length_I = np.sqrt(np.bincount(items_N, weights=values_N.astype(np.float64) ** 2, minlength=num_items))
        unit_N = (values_N / length_I[items_N]).astype(np.float32)
        return cls(sparse.csr_array((unit_N, (items_N, users_N)), shape=(num_items, len(sequences.lengths_U))))

    def diversity(self, ranked_QK: np.ndarray, k: int) -> np.ndarray:
        """float64 [Q]: mean of 1 - cosine over the pairs of items shown in the first k ranks (Ziegler et al. 2005).

        Their likeness is by genre; this one every log has, and no tower decides it. With unit rows x the cosines of all
        n (n - 1) / 2 pairs sum to (|sum x|^2 - sum |x|^2) / 2. 0 where fewer than two items are shown.
        """
        shown_QK = ranked_QK[:, :k]
        query, rank = np.nonzero(shown_QK >= 0)
        shape = (len(shown_QK), self.unit_IU.shape[0])
        lists_QI = sparse.csr_array((np.ones(len(query), np.float32), (query, shown_QK[query, rank])), shape=shape)
        summed_QU = lists_QI @ self.unit_IU
        squares_I = np.diff(self.unit_IU.indptr) > 0
        cosines_Q = (_squares(summed_QU) - lists_QI @ squares_I.astype(np.float64)) / 2
        num_shown_Q = np.bincount(query, minlength=len(shown_QK))
        pairs_Q = num_shown_Q * (num_shown_Q - 1) / 2
        return np.where(pairs_Q > 0, 1 - cosines_Q / np.maximum(pairs_Q, 1), 0.0)


def sampled(ranked_QK: np.ndarray) -> np.ndarray:
    """Evenly spaced rankings, at most SAMPLE; the same ones for every ranking of the same queries."""
    return ranked_QK[:: -(-len(ranked_QK) // SAMPLE)]


def _squares(matrix: sparse.csr_array) -> np.ndarray:
    """float64 [rows]: squared Euclidean lengths."""
    sums = np.concatenate([[0.0], np.cumsum(matrix.data.astype(np.float64) ** 2)])
    return np.diff(sums[matrix.indptr])
