"""When the items of histories were taken, and by which types of events: what histories have beside the items.

Shape legend: B batch, L history length.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences

MIN_TIME = torch.iinfo(torch.int64).min


class Moments(NamedTuple):
    """The moments of a batch of histories; the user tower takes what its configuration asks for.

    Attributes:
        times_BL: int64, unix seconds; what stands at padding has no effect. None where they are not known.
        types_BL: int, the code of each event type plus 1, 0 where it is not known. None likewise.
    """

    times_BL: Tensor | None = None
    types_BL: Tensor | None = None

    @classmethod
    def of_arrays(
        cls, times_BL: np.ndarray | None, types_BL: np.ndarray | None, device: torch.device | str = "cpu"
    ) -> "Moments":
        """The moments of arrays."""
        return cls(*(None if a is None else torch.from_numpy(a).to(device) for a in (times_BL, types_BL)))

    @classmethod
    def latest(
        cls, sequences: Sequences, user_rows_B: np.ndarray, length: int, device: torch.device | str = "cpu"
    ) -> "Moments":
        """The moments of the items that `sequences.last(user_rows_B, length)` returns."""
        positions_B = sequences.lengths_of(user_rows_B)
        return cls.of_arrays(*sequences.moments_before(user_rows_B, positions_B, length), device)


def without_gaps(history_BL: Tensor, moments: Moments) -> tuple[Tensor, Moments]:
    """Moves padding to the left of histories in which unknown items have become padding.

    In training no history has such gaps, because all of its items are known.
    """
    order_BL = (history_BL > 0).to(torch.uint8).argsort(dim=1, stable=True)
    ordered = (None if of is None else of.gather(1, order_BL) for of in moments)
    return history_BL.gather(1, order_BL), Moments(*ordered)


def ages(times_BL: Tensor, history_BL: Tensor) -> Tensor:
    """int64 [B, L]: seconds from each item to the latest one of its history; 0 at padding.

    A shift of all times does not change them. They count from the latest time, and not from the last item, so they are
    not negative even where an event arrived late.
    """
    is_item_BL = history_BL > 0
    latest_B1 = times_BL.masked_fill(~is_item_BL, MIN_TIME).amax(1, keepdim=True)
    return (latest_B1 - times_BL).masked_fill(~is_item_BL, 0)
