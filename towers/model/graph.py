"""The interactions as a graph: users on one side, items on the other, an edge for each distinct interaction.

Shape legend: U users, I items (row 0 of both = unknown), N distinct interactions.
"""

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences


def degree_normalised(sequences: Sequences, num_items: int) -> Tensor:
    """The normalised adjacency matrix D_u^-1/2 R D_i^-1/2, sparse float32 [U, I].

    R has a 1 for each distinct interaction; D_u and D_i hold the numbers of them by user and by item.
    """
    users_N, items_N = sequences.distinct_pairs()
    num_users = sequences.num_users
    degree_U, degree_I = np.bincount(users_N, minlength=num_users), np.bincount(items_N, minlength=num_items)
    values = torch.from_numpy((1 / np.sqrt(degree_U[users_N] * degree_I[items_N])).astype(np.float32))
    indices = torch.from_numpy(np.stack([users_N, items_N]))
    shape = (num_users, num_items)
    return torch.sparse_coo_tensor(indices, values, shape, is_coalesced=True, check_invariants=False)
