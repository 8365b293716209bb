"""The re-ranker: a linear model over what retrieval cannot see, fitted listwise on held-out interactions.

Shape legend: B queries, K candidates, L recent history items, D dimension, I items (row 0 = padding).
"""

import numpy as np
import torch
from torch import Tensor, nn

RECENT = 10
FEATURES = ("retrieval_score", "log_popularity", "nearest_recent_item")


class Reranker(nn.Module):
    """score = w . (retrieval score, standardised log popularity, best cosine with one of the last 10 history items).

    Unfitted, w = (1, 0, 0): retrieval order. Item vectors and popularity come with the towers; only w is its own.
    """

    item_ID: Tensor
    popularity_I: Tensor

    def __init__(self, item_ID: Tensor, counts_I: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))
        log_count = torch.from_numpy(np.log1p(counts_I).astype(np.float32))
        self.register_buffer("item_ID", item_ID, persistent=False)
        self.register_buffer(
            "popularity_I", (log_count - log_count.mean()) / (log_count.std() + 1e-6), persistent=False
        )

    def features(self, score_BK: Tensor, rows_BK: Tensor, history_BL: Tensor) -> Tensor:
        """float32 [B, K, 3], in the order of FEATURES; `history_BL` int, padded with 0, latest last."""
        recent_BR = history_BL[:, -RECENT:].long()
        cosine_BKR = self.item_ID[rows_BK] @ self.item_ID[recent_BR].transpose(1, 2)
        cosine_BKR = cosine_BKR.masked_fill((recent_BR == 0)[:, None, :], 0.0)
        return torch.stack([score_BK, self.popularity_I[rows_BK], cosine_BKR.amax(-1)], dim=-1)

    def forward(self, score_BK: Tensor, rows_BK: Tensor, history_BL: Tensor) -> Tensor:
        """Re-ranking scores, float32 [B, K]."""
        return self.features(score_BK, rows_BK, history_BL) @ self.weight


def order(score_BK: np.ndarray, rows_BK: np.ndarray) -> np.ndarray:
    """Positions by descending score, ties by lower row: int64 [B, K]."""
    return np.lexsort((rows_BK, -score_BK), axis=-1)


def fit(
    reranker: Reranker, score_BK: np.ndarray, rows_BK: np.ndarray, history_BL: np.ndarray, hit_BK: np.ndarray
) -> float:
    """Fits w in place on queries with a hit among their candidates; returns the loss (nats per hit), nan without hits.

    Listwise softmax: -mean over hits of log softmax_k(w . x_bk), as in ListNet with binary relevance (Cao et al. 2007).

    Args:
        rows_BK: candidates; -1 where a list is shorter.
        hit_BK: bool, the candidate is relevant.
    """
    useful = hit_BK.any(1)
    if not useful.any():
        return float("nan")
    missing_BK = torch.from_numpy(rows_BK[useful] < 0)
    hits_BK = torch.from_numpy(hit_BK[useful])
    with torch.no_grad():
        x_BKF = reranker.features(*tensors(score_BK[useful], rows_BK[useful], history_BL[useful]))
    optimizer = torch.optim.LBFGS([reranker.weight], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        logits_BK = (x_BKF @ reranker.weight).masked_fill(missing_BK, -torch.inf)
        loss = -torch.log_softmax(logits_BK, dim=1)[hits_BK].mean()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    return closure()


def tensors(score_BK: np.ndarray, rows_BK: np.ndarray, history_BL: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """The re-ranker's arguments from arrays; missing candidates (row -1) become row 0 with score 0."""
    missing_BK = rows_BK < 0
    score_BK, rows_BK = np.where(missing_BK, 0, score_BK), np.where(missing_BK, 0, rows_BK)
    return torch.from_numpy(score_BK.astype(np.float32)), torch.from_numpy(rows_BK), torch.from_numpy(history_BL)
