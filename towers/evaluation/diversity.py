"""Intra-list diversity: how dissimilar are the items that one user is recommended?

Shape legend: Q queries, K ranks, U users, I items (row 0 of both = unknown), N interactions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from data.cluster.machine import give_back_memory
from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from towers.evaluation.intervals import SEED

SAMPLE = 5_000
"""Largest number of users on which diversity is measured: more would cost much time and hardly change the mean."""

SIMILAR_BY = 500_000
"""Largest number of users whose histories decide the similarity of items; if there are more, a sample is drawn."""

SUMMED = 4_000_000
"""Largest number of entries of items' rows that are summed at a time (some 60 MiB): the items that are recommended to
most queries have many users each."""


@dataclass(frozen=True)
class ItemSimilarity:
    """Cosine similarity of items by their users, where users of few items weigh more (D_u^-1/2 R).

    Attributes:
        unit_IU: sparse float32, one row of length 1 per item; all zeros where an item has no user.
    """

    unit_IU: sparse.csr_array

    @classmethod
    def of(cls, sequences: Sequences, num_items: int) -> "ItemSimilarity":
        """The similarities by the interactions in `sequences`; `num_items` includes row 0."""
        users_N, items_N = (rows_N.astype(np.int32) for rows_N in sequences.distinct_pairs())
        squares_N = (1 / np.maximum(np.bincount(users_N, minlength=sequences.num_users), 1))[users_N]
        length_I = np.sqrt(np.bincount(items_N, weights=squares_N, minlength=num_items))
        unit_N = (np.sqrt(squares_N, out=squares_N) / length_I[items_N]).astype(np.float32)
        return cls(sparse.csr_array((unit_N, (items_N, users_N)), shape=(num_items, sequences.num_users)))

    def diversity(self, ranked_QK: np.ndarray, k: int) -> np.ndarray:
        """float64 [Q]: mean of 1 - cosine over the pairs of items in the first k ranks (Ziegler et al. 2005).

        A departure: their similarity compares genres; this one compares users, which every log has, and does not depend
        on the model. With unit rows x the cosines of all n (n - 1) / 2 pairs sum to (|sum x|^2 - sum |x|^2) / 2. The
        value is 0 where fewer than two items are recommended.
        """
        recommended_QK = ranked_QK[:, :k]
        query, rank = np.nonzero(recommended_QK >= 0)
        shape = (len(recommended_QK), self.unit_IU.shape[0])
        lists_QI = sparse.csr_array(
            (np.ones(len(query), np.float32), (query, recommended_QK[query, rank])), shape=shape
        )
        users_I = np.diff(self.unit_IU.indptr).astype(np.int64)
        parts = _parts_of((lists_QI @ users_I).astype(np.int64))
        squares_Q = np.concatenate([np.zeros(0), *(_squares(lists_QI[at] @ self.unit_IU) for at in parts)])
        cosines_Q = (squares_Q - lists_QI @ (users_I > 0).astype(np.float64)) / 2
        num_items_Q = np.bincount(query, minlength=len(recommended_QK))
        pairs_Q = num_items_Q * (num_items_Q - 1) / 2
        return np.where(pairs_Q > 0, 1 - cosines_Q / np.maximum(pairs_Q, 1), 0.0)


def histories_of_many(dataset: PreparedDataset, splits: Sequence[str]) -> Sequences:
    """The positives of all users in these splits, or of SIMILAR_BY of them, which are always the same ones."""
    give_back_memory()  # what the rankings before have taken for a moment
    num, users_U = dataset.users.num_rows, None
    if num - 1 > SIMILAR_BY:
        users_U = np.zeros(num, dtype=bool)
        users_U[1 + np.random.default_rng(SEED).choice(num - 1, SIMILAR_BY, replace=False)] = True
    return dataset.sequences(*splits, users_U=users_U)


def sampled(ranked_QK: np.ndarray) -> np.ndarray:
    """At most SAMPLE evenly spaced rows: the same queries for every ranking of the same queries."""
    return ranked_QK[:: -(-len(ranked_QK) // SAMPLE)]


def _parts_of(sizes_Q: np.ndarray) -> Iterator[slice]:
    """Slices of queries, one after the other, whose sizes sum to at most SUMMED, or of a single query."""
    ends_Q, start = np.cumsum(sizes_Q), 0
    while start < len(sizes_Q):
        before = ends_Q[start] - sizes_Q[start]
        stop = max(int(np.searchsorted(ends_Q, before + SUMMED, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


def _squares(matrix: sparse.csr_array) -> np.ndarray:
    """float64 [rows]: squared Euclidean length of each row."""
    sums = np.concatenate([[0.0], np.cumsum(matrix.data.astype(np.float64) ** 2)])
    return np.diff(sums[matrix.indptr])
