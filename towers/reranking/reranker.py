"""The re-ranker: scores candidates by signals that retrieval does not use, with a linear part plus a DCN-v2.

Shape legend: B queries, K candidates, R recent history items, C context features, V their values (row 0 = missing), D
dimension of the towers, F signals, I items (row 0 = padding).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.context import Context
from towers.model.two_tower import TowerInputs
from towers.reranking.candidate_lists import CandidateLists
from towers.reranking.config import RerankConfig
from towers.reranking.deep_part import DeepPart
from towers.reranking.goal_heads import GoalHeads

RECENT = 10
"""Number of the latest history items that the re-ranker uses."""

SIGNALS = (
    "retrieval_score",
    "below_best",  # retrieval score minus that of the query's best candidate
    "log_popularity",
    "nearest_recent_item",  # best cosine with one of the user's recent items
    "mean_recent_item",  # mean cosine with the recent items
    "last_item",  # cosine with the latest item
    "taste_for_popular",  # mean log popularity of the recent items
    "num_recent",  # number of recent items, divided by RECENT
)
"""Signals of a candidate. With context features, `context_lift` follows (towers/reranking/context.py)."""

LEAST_DEVIATION = 0.1
"""Where the log popularity of items deviates less, it is divided by this, so that small differences stay small."""

UNFITTED = [1.0, 0.0]
"""Slope and bias before fitting, which leave a score as it is."""


class Reranker(nn.Module):
    """Log-odds that the user chooses a candidate: slope * (linear(signals) + deep(signals, vectors, features)) + bias.

    With goals (`rerank.goals`), it is the value of a candidate instead: the sum of weight times probability over the
    event types that count (towers/reranking/goal_heads.py).

    Before it is fitted, it returns the retrieval score. It is saved without item vectors and popularity: those belong
    to the checkpoint, and the re-ranker only refers to them.

    Attributes:
        context: the context features of requests.
        is_carried: whether its weights were fitted to other towers than these.
        lift_VI: float16, how well an item goes with a context value (`context_lift`); None without context features.
        item_vectors_ID: float32, all item vectors of the towers.
        popularity_I: float32, standardised log(1 + number of interactions) of each item.
        calibration: float32 [2], slope and bias.
    """

    lift_VI: Tensor | None
    item_vectors_ID: Tensor
    popularity_I: Tensor
    calibration: Tensor

    def __init__(
        self,
        config: RerankConfig,
        item_vectors_ID: Tensor,
        counts_I: np.ndarray,
        items: TowerInputs,
        context: Context | None = None,
        num_fitted: int | None = None,
        is_carried: bool = False,
        clips_popularity: bool = True,
    ) -> None:
        """Initialises an unfitted re-ranker.

        Args:
            item_vectors_ID: float32, all item vectors of the towers.
            counts_I: interactions of each item.
            items: the item tower's inputs, whose features are embedded.
            context: the context features of requests; None means none.
            num_fitted: number of items (the first ones) that were in the catalogue when the re-ranker was fitted, by
                which popularity is standardised; None means all.
            is_carried: whether its weights were, or will be, fitted to other towers (towers/reranking/carry.py).
            clips_popularity: whether an item without interactions counts as the least popular of the others; it does
                not in checkpoints of earlier versions.
        """
        super().__init__()
        self.config = config
        self.context = context or Context()
        self.is_carried = is_carried
        num_signals, num_values = len(SIGNALS) + bool(self.context), self.context.num_values
        self.weight = nn.Parameter(torch.eye(num_signals)[SIGNALS.index("retrieval_score")])
        self.deep: DeepPart | None = None
        if config.hidden_dim:
            self.deep = DeepPart(config, num_signals, num_values, item_vectors_ID.shape[1], items, is_carried)
        self.goals: GoalHeads | None = None
        if config.goals:
            width = num_signals if self.deep is None else self.deep.width
            self.goals = GoalHeads(config.goals, width + 1, config.experts, config.hidden_dim, config.dropout)
        lift_VI = torch.zeros(num_values, len(item_vectors_ID), dtype=torch.float16) if self.context else None
        self.register_buffer("lift_VI", lift_VI)
        self.register_buffer("calibration", torch.tensor(UNFITTED))
        self.register_buffer("item_vectors_ID", item_vectors_ID, persistent=False)
        self.register_buffer("popularity_I", _popularity(counts_I, num_fitted, clips_popularity), persistent=False)

    @property
    def is_fitted(self) -> bool:
        """Whether it was fitted and calibrated."""
        return self.calibration.tolist() != UNFITTED

    @property
    def goal_weights(self) -> dict[str, float]:
        """How much each goal counts where a request does not say; empty where scores are log-odds, not values."""
        return dict(self.config.goals) if self.is_fitted else {}

    def forward(self, lists: CandidateLists, weights_BA: Tensor | None = None) -> Tensor:
        """The score that candidates are ordered by, float32 [B, K]; undefined where a candidate is missing.

        Args:
            weights_BA: float32, how much each goal counts in each query; None takes the weights of the config.

        Returns:
            Calibrated log-odds or, with goals, values.
        """
        if not self.is_fitted:
            return lists.score_BK
        inputs_BKW, score_BK = self.inputs(lists)
        if self.goals is not None:
            return self.goals.value(_joined(inputs_BKW, score_BK), weights_BA)
        slope, bias = self.calibration
        return slope * score_BK + bias

    def uncalibrated(self, lists: CandidateLists) -> Tensor:
        """Scores before calibration, float32 [B, K]."""
        return self.inputs(lists)[1]

    def goal_inputs(self, lists: CandidateLists) -> Tensor:
        """What the heads of the goals read, float32 [B, K, W + 1]."""
        return _joined(*self.inputs(lists))

    def inputs(self, lists: CandidateLists) -> tuple[Tensor, Tensor]:
        """What describes each candidate, float32 [B, K, W], and its score before calibration, float32 [B, K]."""
        item_BKD = functional.embedding(lists.rows_BK, self.item_vectors_ID)
        signals_BKF = self._signals(lists, item_BKD)
        linear_BK = signals_BKF @ self.weight
        if self.deep is None:
            return signals_BKF, linear_BK
        crossed_BKW = self.deep.crossed(lists, item_BKD, signals_BKF)
        return crossed_BKW, linear_BK + self.deep(crossed_BKW)

    def signals(self, lists: CandidateLists) -> Tensor:
        """The signals of each candidate, float32 [B, K, F], in the order of SIGNALS; `context_lift` comes last."""
        return self._signals(lists, functional.embedding(lists.rows_BK, self.item_vectors_ID))

    def _signals(self, lists: CandidateLists, item_BKD: Tensor) -> Tensor:
        recent_BR, score_BK = lists.recent_BR, lists.score_BK
        is_item_BR = (recent_BR > 0).float()
        count_B1 = is_item_BR.sum(1, keepdim=True)
        recent_BRD = functional.embedding(recent_BR, self.item_vectors_ID)
        cosine_BKR = item_BKD @ recent_BRD.transpose(1, 2) * is_item_BR[:, None]
        nearest_BK = torch.where(
            count_B1 > 0, cosine_BKR.masked_fill(is_item_BR[:, None] == 0, -torch.inf).amax(-1), 0.0
        )
        taste_B1 = (self.popularity_I[recent_BR] * is_item_BR).sum(1, keepdim=True) / count_B1.clamp_min(1)
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


def _joined(inputs_BKW: Tensor, score_BK: Tensor) -> Tensor:
    return torch.cat([inputs_BKW, score_BK[..., None]], dim=-1)


def _popularity(counts_I: np.ndarray, num_fitted: int | None, clips: bool) -> Tensor:
    """Standardised log popularity of each item, float32 [I].

    It is standardised by the items that the re-ranker was fitted with and that have interactions, and clipped to their
    range: what an item has without interactions, such as one that `serve.refresh` adds, was never seen in fitting.
    """
    log_count_I = torch.from_numpy(np.log1p(counts_I).astype(np.float32))
    fitted = log_count_I if num_fitted is None else log_count_I[: num_fitted + 1]
    if not clips:
        return (log_count_I - fitted.mean()) / (fitted.std() + 1e-6)
    fitted = fitted[fitted > 0]
    if not len(fitted):
        return torch.zeros_like(log_count_I)
    log_count_I = log_count_I.clamp(fitted.min(), fitted.max())
    return (log_count_I - fitted.mean()) / fitted.std(correction=0).clamp_min(LEAST_DEVIATION)
