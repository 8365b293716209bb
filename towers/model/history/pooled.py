"""The mean of the history's items, mapped linearly.

Shape legend: B batch, L history length, R distinct items of a batch's histories (row 0 = padding), D dimension.
"""

from torch import Tensor, nn
from torch.nn import functional

from towers.model.history import HISTORY_ENCODERS
from towers.model.history.encoder import HistoryEncoder, HistorySettings


@HISTORY_ENCODERS.register("pooled")
class PooledHistory(HistoryEncoder):
    """Linear map of the mean item embedding over the history, as in SimpleX (Mao et al. 2021, eq. 4, mean pooling).

    The map starts as the identity.
    """

    def __init__(self, config: HistorySettings) -> None:
        super().__init__(config)
        self.linear = nn.Linear(config.embedding_dim, config.embedding_dim, bias=False)
        nn.init.eye_(self.linear.weight)

    def forward(self, history_BL: Tensor, items_RD: Tensor) -> Tensor:
        """int [B, L], float32 [R, D] -> float32 [B, D]; zeros for an empty history."""
        return self.linear(functional.embedding_bag(history_BL, items_RD, mode="mean", padding_idx=0))
