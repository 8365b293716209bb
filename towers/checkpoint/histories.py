"""Users' histories, and what they have seen, as the tensors of a file."""

import torch
from torch import Tensor

from data.sequences.histories import Sequences

MOMENTS = ("times_N", "types_N")
"""What histories hold beside the items, where the user tower takes it."""


def as_tensors(history: Sequences, seen: Sequences | None) -> dict[str, Tensor]:
    """The tensors to save.

    Args:
        seen: the items that count as seen, where they are others than those of the history.
    """
    arrays = {"offsets_U1": history.offsets_U1, "items_N": history.items_N}
    arrays |= {name: of_N for name in MOMENTS if (of_N := getattr(history, name)) is not None}
    if seen is not None:
        arrays |= {"seen_offsets_U1": seen.offsets_U1, "seen_items_N": seen.items_N}
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


def of_tensors(tensors: dict[str, Tensor]) -> tuple[Sequences, Sequences]:
    """Histories and what was seen: the same sequences, unless the log has event types."""
    moments = {name: tensors[name].numpy() for name in MOMENTS if name in tensors}
    history = Sequences(tensors["offsets_U1"].numpy(), tensors["items_N"].numpy(), **moments)
    if "seen_items_N" not in tensors:
        return history, history
    return history, Sequences(tensors["seen_offsets_U1"].numpy(), tensors["seen_items_N"].numpy())
