"""The re-ranker: what retrieval cannot see of a candidate, weighed by a linear part and a DCN-v2 beside it.

Shape legend: B queries, K candidates, R recent history items, C context features, D dimension of the towers, F signals,
I items (row 0 = padding).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from data.artifacts.errors import ConfigError
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.layers import zeroed
from towers.model.two_tower import Side
from towers.reranking.context import Context
from towers.reranking.cross_network import CrossNetwork

RECENT = 10
"""Latest items of the history that the re-ranker looks at."""

SIGNALS = (
    "retrieval_score",
    "below_best",  # retrieval score less that of the query's best candidate
    "log_popularity",
    "nearest_recent_item",  # best cosine with one of the recent items
    "mean_recent_item",  # mean cosine with them
    "last_item",  # cosine with the latest
    "taste_for_popular",  # mean log popularity of the recent items
    "num_recent",  # of RECENT, as a share
)
"""What there is without a context; with one, `context_lift` follows: see towers/reranking/context.py."""

UNFITTED = [1.0, 0.0]
"""Slope and bias that change nothing."""


@dataclass(kw_only=True, slots=True)
class RerankConfig:
    """The re-ranker and how it is fitted.

    Attributes:
        num_cross: layers of the cross network; with hidden_dim 0 too, the linear part is all there is.
        cross_rank: of their weight matrices.
        hidden_dim: width of the perceptron behind them.
        feature_dim: of the embedded item features.
        dropout: inside the perceptron.
        epochs: at most; the best one on the queries held out counts.
        batch_size: queries per step.
        learning_rate: of Adam.
        weight_decay: of Adam.
        max_queries: fitted on at most so many, drawn at random.
        held_out: share of them that picks the epoch and calibrates.
    """

    num_cross: int = 2
    cross_rank: int = 32
    hidden_dim: int = 64
    feature_dim: int = 16
    dropout: float = 0.1
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 0.001
    weight_decay: float = 1e-5
    max_queries: int = 20_000
    held_out: float = 0.2

    def __post_init__(self) -> None:
        for name in ("num_cross", "hidden_dim", "epochs", "dropout", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"rerank.{name}: {getattr(self, name)} must be at least 0")
        for name in ("cross_rank", "feature_dim", "batch_size", "max_queries"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rerank.{name}: {getattr(self, name)} must be at least 1")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"rerank.held_out: {self.held_out} must lie in (0, 1)")
        if self.num_cross and not self.hidden_dim:
            raise ConfigError(f"rerank.num_cross: {self.num_cross} needs a perceptron behind; set rerank.hidden_dim")


@dataclass(frozen=True, slots=True)
class Lists:
    """What is re-ranked.

    Attributes:
        user_BD: float32, the user tower's vectors.
        score_BK, rows_BK: float32 and int64, retrieval's scores and items; row 0 where a list is shorter.
        recent_BR: int64, each user's latest items, padded with 0 on the left.
        context_BC: int64, what the request came with, see towers/reranking/context.py; 0, or no column, where it does not say.
    """

    user_BD: Tensor
    score_BK: Tensor
    rows_BK: Tensor
    recent_BR: Tensor
    context_BC: Tensor

    @classmethod
    def of(
        cls,
        user_BD: np.ndarray,
        score_BK: np.ndarray,
        rows_BK: np.ndarray,
        recent_BR: np.ndarray,
        context_BC: np.ndarray | None = None,
    ) -> "Lists":
        """From arrays; missing candidates (row -1) become row 0 with score 0."""
        missing_BK = rows_BK < 0
        score_BK, rows_BK = np.where(missing_BK, 0, score_BK), np.where(missing_BK, 0, rows_BK)
        context_BC = np.zeros((len(user_BD), 0), np.int64) if context_BC is None else context_BC
        vectors, scores = user_BD.astype(np.float32), score_BK.astype(np.float32)
        return cls(*map(torch.from_numpy, (vectors, scores, rows_BK, recent_BR.astype(np.int64), context_BC)))

    def __getitem__(self, at: slice | Tensor) -> "Lists":
        tensors = (self.user_BD, self.score_BK, self.rows_BK, self.recent_BR, self.context_BC)
        return Lists(*(tensor[at] for tensor in tensors))

    def __len__(self) -> int:
        return len(self.user_BD)


class Reranker(nn.Module):
    """Log-odds that the user takes a candidate: slope * (linear(signals) + deep(signals, vectors, features)) + bias.

    Unfitted, it is the retrieval score. Item vectors and popularity come with the towers; the rest is its own.

    Attributes:
        context: what a request may come with.
        lift_VI: float16, what that tells of items; None without a context.
    """

    lift_VI: Tensor | None
    item_ID: Tensor
    popularity_I: Tensor
    calibration: Tensor

    def __init__(
        self,
        config: RerankConfig,
        item_ID: Tensor,
        counts_I: np.ndarray,
        items: Side,
        context: Context | None = None,
        num_fitted: int | None = None,
    ) -> None:
        """`counts_I`: interactions of each item row; `items`: whose features are embedded; `num_fitted`: the first so
        many items were there when it was fitted (None: all), and popularity is measured by them."""
        super().__init__()
        self.config = config
        self.context = context or Context()
        num_signals, num_values = len(SIGNALS) + bool(self.context), self.context.num_values
        self.weight = nn.Parameter(torch.eye(num_signals)[SIGNALS.index("retrieval_score")])
        self.deep = Deep(config, num_signals, num_values, item_ID.shape[1], items) if config.hidden_dim else None
        lift_VI = torch.zeros(num_values, len(item_ID), dtype=torch.float16) if self.context else None
        self.register_buffer("lift_VI", lift_VI)
        self.register_buffer("calibration", torch.tensor(UNFITTED))
        self.register_buffer("item_ID", item_ID, persistent=False)
        log_count = torch.from_numpy(np.log1p(counts_I).astype(np.float32))
        fitted = log_count if num_fitted is None else log_count[: num_fitted + 1]
        popularity_I = (log_count - fitted.mean()) / (fitted.std() + 1e-6)
        self.register_buffer("popularity_I", popularity_I, persistent=False)

    @property
    def is_fitted(self) -> bool:
        return self.calibration.tolist() != UNFITTED

    def forward(self, lists: Lists) -> Tensor:
        """Calibrated log-odds, float32 [B, K]; whatever they are where a candidate is missing."""
        if not self.is_fitted:
            return lists.score_BK
        slope, bias = self.calibration
        return slope * self.raw(lists) + bias

    def raw(self, lists: Lists) -> Tensor:
        """Scores before calibration, float32 [B, K]."""
        item_BKD = functional.embedding(lists.rows_BK, self.item_ID)
        signals_BKF = self._signals(lists, item_BKD)
        linear_BK = signals_BKF @ self.weight
        if self.deep is None:
            return linear_BK
        return linear_BK + self.deep(lists, item_BKD, signals_BKF)

    def signals(self, lists: Lists) -> Tensor:
        """float32 [B, K, F], in the order of SIGNALS, the context's last."""
        return self._signals(lists, functional.embedding(lists.rows_BK, self.item_ID))

    def _signals(self, lists: Lists, item_BKD: Tensor) -> Tensor:
        recent_BR, score_BK = lists.recent_BR, lists.score_BK
        there_BR = (recent_BR > 0).float()
        count_B1 = there_BR.sum(1, keepdim=True)
        recent_BRD = functional.embedding(recent_BR, self.item_ID)
        cosine_BKR = item_BKD @ recent_BRD.transpose(1, 2) * there_BR[:, None]
        nearest_BK = torch.where(count_B1 > 0, cosine_BKR.masked_fill(there_BR[:, None] == 0, -torch.inf).amax(-1), 0.0)
        taste_B1 = (self.popularity_I[recent_BR] * there_BR).sum(1, keepdim=True) / count_B1.clamp_min(1)
        values = [
            score_BK,
            score_BK - score_BK.amax(1, keepdim=True),
            self.popularity_I[lists.rows_BK],
            nearest_BK,
            cosine_BKR.sum(-1) / count_B1.clamp_min(1),
            cosine_BKR[..., -1],
            taste_B1.expand_as(score_BK),
            (count_B1 / RECENT).expand_as(score_BK),
        ]
        if self.lift_VI is not None:
            values.append(self.lift_VI[lists.context_BC[..., None], lists.rows_BK[:, None]].float().sum(1))
        return torch.stack(values, dim=-1)


class Deep(nn.Module):
    """DCN-v2, stacked (Wang et al. 2021, fig. 1): cross network, then a perceptron. It starts at zero."""

    def __init__(self, config: RerankConfig, num_signals: int, num_values: int, dim: int, items: Side) -> None:
        super().__init__()
        self.item_features = FeatureEmbedding(items.encoder, items.encoded, config.feature_dim)
        self.context = nn.Embedding(num_values, config.feature_dim, padding_idx=0) if num_values > 1 else None
        sides = self.item_features.any + (self.context is not None)
        width = 3 * dim + num_signals + config.feature_dim * sides
        self.scale = dim**0.5  # unit vectors have entries of this size less than the signals
        self.cross = CrossNetwork(width, config.num_cross, config.cross_rank)
        first, last = nn.Linear(width, config.hidden_dim), zeroed(nn.Linear(config.hidden_dim, 1))
        self.perceptron = nn.Sequential(first, nn.GELU(), nn.Dropout(config.dropout), last)

    def forward(self, lists: Lists, item_BKD: Tensor, signals_BKF: Tensor) -> Tensor:
        """float32 [B, K]."""
        rows_BK = lists.rows_BK
        user_BKD, item_BKD = (self.scale * lists.user_BD)[:, None].expand_as(item_BKD), self.scale * item_BKD
        parts = [user_BKD, item_BKD, user_BKD * item_BKD, signals_BKF]
        if self.item_features.any:
            parts.append(self.item_features(rows_BK.flatten()).view(*rows_BK.shape, -1))
        if self.context is not None:
            parts.append(self.context(lists.context_BC).sum(1)[:, None].expand(*rows_BK.shape, -1))
        return self.perceptron(self.cross(torch.cat(parts, dim=-1)))[..., 0]


def order(score_BK: np.ndarray, rows_BK: np.ndarray) -> np.ndarray:
    """Positions by descending score, ties by lower row: int64 [B, K]."""
    return np.lexsort((rows_BK, -score_BK), axis=-1)
