"""What the type of its event changes about an item of a history: a purchase says another thing than a click.

Shape legend: B batch, L history length, R distinct pairs of an item and a type, T event types, D dimension.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class EventTypeShift(nn.Module):
    """Scales and shifts the embedding of an item by the type of its event: a feature-wise linear modulation.

    e' = (1 + scale_t) e + shift_t, after Perez et al. (2018, "FiLM"), with one scale for all entries. In a pooled
    history the scale is how much an item of this type weighs. Both start at zero, where types change nothing. It acts
    before the history encoder, and so for all of them.

    Attributes:
        names: the event types, in the order of their codes.
        rows: the row of each event type: its code plus 1. Row 0 is for unknown types.
    """

    def __init__(self, names: Sequence[str], embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.names = tuple(names)
        self.rows = {name: row for row, name in enumerate(self.names, 1)}
        self.values = nn.Embedding(len(self.names) + 1, embedding_dim + 1)
        nn.init.zeros_(self.values.weight)
        self.dropout = dropout

    def rows_of(self, names: Sequence[str]) -> np.ndarray:
        """int16 [1 + number of names]: the row of each of some event types, after row 0; 0 for those unknown here."""
        return np.array([0, *(self.rows.get(name, 0) for name in names)], dtype=np.int16)

    def known(self, types_BL: Tensor, history_BL: Tensor) -> Tensor:
        """int64 [B, L]: the rows of the types, 0 at padding and, in training, for a share of the histories."""
        types_BL = types_BL.long().masked_fill(history_BL == 0, 0)
        if self.training and self.dropout:
            is_left_out_B1 = torch.rand(len(types_BL), 1, device=types_BL.device) < self.dropout
            types_BL = types_BL.masked_fill(is_left_out_B1, 0)
        return types_BL

    def forward(self, item_RD: Tensor, types_R: Tensor) -> Tensor:
        """float32 [R, D], int [R] -> float32 [R, D]."""
        shift_RD, scale_R1 = self.values(types_R).split([item_RD.shape[1], 1], dim=1)
        return item_RD * (1 + scale_R1) + shift_RD
