"""Neighbourhood smoothing after training: an item vector moves towards the vectors of the users who chose the item.

Shape legend: U users, I items (row 0 of both = unknown), D dimension.
"""

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences
from towers.model.graph import degree_normalised
from towers.model.history.moments import Moments
from towers.model.two_tower import TwoTower

CHUNK = 4096
"""Users embedded at a time."""


@torch.no_grad()
def smooth(model: TwoTower, sequences: Sequences) -> None:
    """Fills the model's `neighbours_ID` from the interactions that it was fitted on; `model.smoothing` is its weight.

    neighbours_i = sum over the users u of item i of user_u / sqrt(d_u d_i), with d the number of distinct neighbours:
    one step of LightGCN's propagation (He et al. 2020, eq. 3) from users to items. Its length grows with the square
    root of an item's popularity: smoothed vectors are not of unit length, and carry some popularity.
    """
    assert model.neighbours_ID is not None, "model.smoothing must be above 0"
    matrix = degree_normalised(sequences, len(model.neighbours_ID)).T
    model.neighbours_ID.copy_(matrix.to(model.neighbours_ID.device) @ all_user_vectors(model, sequences))


def all_user_vectors(model: TwoTower, sequences: Sequences) -> Tensor:
    """float32 [U, D]: the vectors of all users, with the latest items of `sequences` as their histories."""
    model.eval()
    rows, device = np.arange(sequences.num_users), model.item_ids.table.weight.device
    length, vectors = model.config.num_history, []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        history_BL = torch.from_numpy(sequences.last(part, length)).to(device)
        moments = Moments.latest(sequences, part, length, device)
        vectors.append(model.user_vectors(torch.from_numpy(part).to(device), history_BL, None, moments))
    return torch.cat(vectors)
