"""The absence of a history encoder."""

from typing import ClassVar

from torch import Tensor

from towers.model.history import HISTORY_ENCODERS
from towers.model.history.encoder import HistoryEncoder


@HISTORY_ENCODERS.register("none")
class NoHistory(HistoryEncoder):
    """Users are described by their ids and features alone."""

    reads_history: ClassVar[bool] = False

    def forward(self, history_BL: Tensor, items_RD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """Zeros, float32 [B, D]."""
        return items_RD.new_zeros(len(history_BL), items_RD.shape[1])
