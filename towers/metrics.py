"""Ranking metrics on whole rankings: no sampling. Q queries (users), K ranks, I items.

With hits h_qk in {0, 1} at rank k and R_q relevant items:
recall@k = sum_{j<=k} h_qj / R_q;  hit_rate@k = [sum_{j<=k} h_qj > 0];  mrr@k = 1 / first hit's rank, 0 without;
ndcg@k = sum_{j<=k} h_qj / log2(j + 1) over the same sum for an ideal ranking, which has min(k, R_q) hits
(Jarvelin & Kekalainen 2002, binary gains).
"""

from collections.abc import Sequence

import numpy as np


def hits(ranked_QK: np.ndarray, relevant: tuple[np.ndarray, np.ndarray], num_items: int) -> np.ndarray:
    """bool [Q, K]: is the item at each rank relevant to its query?

    Args:
        ranked_QK: item rows, best first; -1 where a ranking is shorter.
        relevant: (query index, item row), flat.
    """
    wanted = np.unique(relevant[0].astype(np.int64) * num_items + relevant[1])
    keys_QK = np.arange(len(ranked_QK), dtype=np.int64)[:, None] * num_items + ranked_QK
    index = np.minimum(np.searchsorted(wanted, keys_QK), max(len(wanted) - 1, 0))
    return (wanted[index] == keys_QK) & (ranked_QK >= 0) if len(wanted) else np.zeros(ranked_QK.shape, dtype=bool)


def per_query(hits_QK: np.ndarray, num_relevant_Q: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Each metric at each k for each query: {"recall@20": float64 [Q], ...}. Every query has a relevant item."""
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


def coverage(ranked_QK: np.ndarray, k: int, num_items: int) -> float:
    """Share of the catalogue that is shown to anyone in the first k ranks."""
    shown = np.unique(ranked_QK[:, :k])
    return float((shown > 0).sum() / max(num_items - 1, 1))
