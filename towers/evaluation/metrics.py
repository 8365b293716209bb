"""Ranking metrics over the whole catalogue, without sampling of candidates.

Shape legend: Q queries (users), K ranks, I items (row 0 = unknown).

With hits h_qk in {0, 1} at rank k and R_q relevant items:
recall@k = sum_{j<=k} h_qj / R_q;  hit_rate@k = [sum_{j<=k} h_qj > 0];  mrr@k = 1 / first hit's rank, 0 without;
ndcg@k = sum_{j<=k} h_qj / log2(j + 1) over the same sum for an ideal ranking, which has min(k, R_q) hits
(Jarvelin & Kekalainen 2002, binary gains).

Coverage, Gini and novelty (below) and intra-list diversity (towers/evaluation/diversity.py) describe what is
recommended, whether it is relevant or not.
"""

from collections.abc import Sequence

import numpy as np

from data.sequences.membership import is_among

ACCURACY = ("recall", "ndcg", "mrr", "hit_rate")
"""The metrics that say how well held-out items are found; `per_query` computes them."""

METRICS = ("recall", "ndcg", "mrr", "hit_rate", "value", "coverage", "gini", "novelty", "diversity")
"""Metrics that tables show, in this order; value (towers/evaluation/goals.py) where there are goals."""


def hits(ranked_QK: np.ndarray, relevant: tuple[np.ndarray, np.ndarray], num_items: int) -> np.ndarray:
    """bool [Q, K]: whether the item at each rank is relevant to its query.

    Args:
        ranked_QK: item rows, best first; -1 where a ranking is shorter.
        relevant: the relevant pairs as two arrays of equal length: query indices and item rows.
        num_items: I, row 0 included.
    """
    wanted = np.unique(relevant[0].astype(np.int64) * num_items + relevant[1])
    keys_QK = np.arange(len(ranked_QK), dtype=np.int64)[:, None] * num_items + ranked_QK
    return is_among(keys_QK, wanted) & (ranked_QK >= 0)


def per_query(hits_QK: np.ndarray, num_relevant_Q: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Each metric at each k for each query: {"recall@20": float64 [Q], ...}.

    Args:
        hits_QK: bool, as `hits` returns it.
        num_relevant_Q: number of relevant items of each query, at least 1.
        ks: cut-offs, at most K.
    """
    ranks_K = np.arange(1, hits_QK.shape[1] + 1)
    gains_QK = hits_QK / np.log2(ranks_K + 1)
    ideal_K = np.cumsum(1 / np.log2(ranks_K + 1))
    first_Q = np.where(hits_QK.any(1), hits_QK.argmax(1) + 1, np.iinfo(np.int64).max)
    out: dict[str, np.ndarray] = {}
    for k in ks:
        num_hits_Q = hits_QK[:, :k].sum(1)
        out[f"recall@{k}"] = num_hits_Q / num_relevant_Q
        best_Q = ideal_K[np.minimum(np.minimum(num_relevant_Q, k), len(ideal_K)) - 1]
        out[f"ndcg@{k}"] = gains_QK[:, :k].sum(1) / best_Q
        out[f"mrr@{k}"] = np.where(first_Q <= k, 1 / first_Q, 0.0)
        out[f"hit_rate@{k}"] = (num_hits_Q > 0).astype(np.float64)
    return out


def novelty(ranked_QK: np.ndarray, counts_I: np.ndarray, k: int) -> np.ndarray:
    """float64 [Q]: mean self-information -log2 p(i) of the items in the first k ranks, in bits.

    p(i) is the item's share of the interactions that the model was fitted on (Zhou et al. 2010). An item without
    interactions, a case that the paper does not have, is treated as if it had one. The value is 0 where nothing is
    recommended.
    """
    bits_I = -np.log2(np.maximum(counts_I, 1) / max(counts_I.sum(), 1))
    rows_QK = ranked_QK[:, :k]
    is_item_QK = rows_QK >= 0
    return np.where(is_item_QK, bits_I[rows_QK], 0.0).sum(1) / np.maximum(is_item_QK.sum(1), 1)


def times_recommended(ranked_QK: np.ndarray, k: int, num_items: int) -> np.ndarray:
    """int64 [I]: in how many rankings each item is among the first k; row 0 never is."""
    rows_QK = ranked_QK[:, :k]
    return np.bincount(rows_QK[rows_QK > 0], minlength=num_items)


def coverage(times_recommended_I: np.ndarray) -> float:
    """Share of the catalogue that is recommended to anyone."""
    return float((times_recommended_I[1:] > 0).sum() / max(len(times_recommended_I) - 1, 1))


def gini(times_recommended_I: np.ndarray) -> float:
    """Gini coefficient of how often items are recommended: 0 = all equally often, near 1 = always the same item.

    sum_j (2j - n - 1) x_j / (n sum_j x_j), where x, in ascending order, counts how often each of the n items of the
    catalogue is recommended; items that never are count as 0.
    """
    times_I = np.sort(times_recommended_I[1:])
    num_items, total = len(times_I), times_I.sum()
    if not total:
        return 0.0
    weights_I = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float((weights_I * times_I).sum() / (num_items * total))
