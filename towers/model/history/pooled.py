"""The mean of the history's items, mapped linearly.

Shape legend: B batch, L history length, R distinct items of a batch's histories (row 0 = padding), D dimension.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from towers.model.history import HISTORY_ENCODERS
from towers.model.history.encoder import HistoryEncoder, HistorySettings
from towers.model.history.moments import ages
from towers.model.history.time_modes import HistoryTime

DAY_S = 86_400.0


@HISTORY_ENCODERS.register("pooled")
class PooledHistory(HistoryEncoder):
    """Linear map of the mean item embedding over the history, as in SimpleX (Mao et al. 2021, eq. 4, mean pooling).

    The map starts as the identity. With `model.history_time=recency` the mean is weighted: an item counts half as much
    as one that is a half-life younger (exponential forgetting, as in Ding & Li 2005, "Time weight collaborative
    filtering"). Weights are divided by their sum, so that ages count from the latest item of the history, and
    the user vector does not change by waiting.

    Attributes:
        half_life_log_1: natural logarithm of the half-life over `model.history_half_life_days`, which training learns;
            None without `recency`.
    """

    time_modes: ClassVar[tuple[HistoryTime, ...]] = (HistoryTime.recency,)

    def __init__(self, config: HistorySettings) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.embedding_dim, config.embedding_dim, bias=False)
        nn.init.eye_(self.linear.weight)
        self.start_s = config.history_half_life_days * DAY_S
        learned = config.history_time is HistoryTime.recency
        self.half_life_log_1 = nn.Parameter(torch.zeros(1)) if learned else None

    def forward(self, history_BL: Tensor, items_RD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """int [B, L], float32 [R, D], int64 [B, L] -> float32 [B, D]; zeros for an empty history."""
        if times_BL is None:
            return self.linear(functional.embedding_bag(history_BL, items_RD, mode="mean", padding_idx=0))
        weight_BL = self.weights(history_BL, times_BL).to(items_RD.dtype)
        pooled_BD = functional.embedding_bag(
            history_BL, items_RD, mode="sum", padding_idx=0, per_sample_weights=weight_BL
        )
        return self.linear(pooled_BD)

    def weights(self, history_BL: Tensor, times_BL: Tensor) -> Tensor:
        """float32 [B, L]: how much each item counts; the weights of a history add up to 1, padding has 0."""
        assert self.half_life_log_1 is not None
        half_lives_BL = ages(times_BL, history_BL).float() / (self.start_s * self.half_life_log_1.exp())
        kept_BL = torch.exp2(-half_lives_BL) * (history_BL > 0)  # the latest item has 1, so that no sum underflows
        return kept_BL / kept_BL.sum(1, keepdim=True).clamp_min(1.0)
