"""Users' histories, and what they have seen, as the tensors of a file."""

from collections.abc import Collection, Iterable

import numpy as np
from torch import Tensor

from data.artifacts.folders import Folder
from data.sequences.histories import BESIDE, TIME, TYPE, Sequences, SequencesPart
from towers.checkpoint.tensor_files import GrowingTensors

MOMENTS = {TIME: "times_N", TYPE: "types_N"}
"""What histories hold beside the items, where the user tower takes it: the tensor of each column."""


def write_histories(
    folder: Folder,
    name: str,
    num_users: int,
    history: Iterable[SequencesPart],
    seen: Iterable[SequencesPart] | None = None,
    beside: Collection[str] = (),
) -> None:
    """Writes them part after part, so that no process holds all of them.

    Args:
        num_users: U, row 0 included.
        seen: the items that count as seen, where they are others than those of the history.
        beside: what the histories hold beside the items, of TIME and TYPE.
    """
    names = {"item_row": "items_N"} | {column: MOMENTS[column] for column in MOMENTS if column in beside}
    dtypes = {"offsets_U1": np.int64} | {tensor: BESIDE.get(column, np.int32) for column, tensor in names.items()}
    if seen is not None:
        dtypes |= {"seen_offsets_U1": np.int64, "seen_items_N": np.int32}
    with GrowingTensors.open(dtypes) as tensors:
        tensors.append("offsets_U1", _appended(tensors, names, num_users, history))
        if seen is not None:
            tensors.append("seen_offsets_U1", _appended(tensors, {"item_row": "seen_items_N"}, num_users, seen))
        tensors.save(folder, name)


def _appended(
    tensors: GrowingTensors, names: dict[str, str], num_users: int, parts: Iterable[SequencesPart]
) -> np.ndarray:
    """Appends the columns of all parts to the tensors of these names; returns the offsets, int64 [U + 1]."""
    offsets_U1 = np.zeros(num_users + 1, dtype=np.int64)
    for part in parts:
        offsets_U1[part.first_user + 1 :][: len(part.counts_U)] = part.counts_U
        for column, tensor in names.items():
            tensors.append(tensor, part.columns[column])
    return np.cumsum(offsets_U1, out=offsets_U1)


def of_tensors(tensors: dict[str, Tensor]) -> tuple[Sequences, Sequences]:
    """Histories and what was seen: the same sequences, unless the log has event types."""
    moments = {name: tensors[name].numpy() for name in MOMENTS.values() if name in tensors}
    history = Sequences(tensors["offsets_U1"].numpy(), tensors["items_N"].numpy(), **moments)
    if "seen_items_N" not in tensors:
        return history, history
    return history, Sequences(tensors["seen_offsets_U1"].numpy(), tensors["seen_items_N"].numpy())
