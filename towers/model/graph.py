"""The interactions as a graph: users on one side, items on the other, an edge for each distinct interaction.

Shape legend: U users, I items (row 0 of both = unknown), N distinct interactions.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from data.sequences.histories import Sequences

BLOCK = 1 << 24
"""Interactions whose distinct ones are looked for at a time, in some 40 bytes each."""


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


def degrees(sequences: Sequences, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 [U] and [I]: the numbers of distinct interactions by user and by item; some users are looked at at a time.

    Args:
        num_items: row 0 included.
    """
    degree_U, degree_I = np.zeros(sequences.num_users, np.int64), np.zeros(num_items, np.int64)
    for at in _blocks(sequences):
        users_N, items_N = sequences.distinct_pairs_of(np.arange(at.start, at.stop))
        degree_U[at] = np.bincount(users_N, minlength=at.stop - at.start)
        degree_I += np.bincount(items_N, minlength=num_items)
    return degree_U, degree_I


def normalised_of_some(
    sequences: Sequences, degree_U: np.ndarray, degree_I: np.ndarray, every: int
) -> sparse.csr_array:
    """The rows of every n-th user, from row 0 on, of the matrix that `degree_normalised` returns: float32 [U / n, I].

    Args:
        degree_U, degree_I: those of all interactions, as `degrees` returns them.
        every: n.
    """
    rows = np.arange(0, sequences.num_users, every)
    users_N, items_N = sequences.distinct_pairs_of(rows)
    values_N = (1 / np.sqrt(degree_U[rows[users_N]] * degree_I[items_N])).astype(np.float32)
    return sparse.csr_array((values_N, (users_N, items_N)), shape=(len(rows), len(degree_I)))


def _blocks(sequences: Sequences) -> Iterator[slice]:
    """Slices of users, one after the other, who have at most BLOCK interactions together, or of a single user."""
    start, ends_U = 0, sequences.offsets_U1[1:]
    while start < sequences.num_users:
        stop = int(np.searchsorted(ends_U, sequences.offsets_U1[start] + BLOCK, side="right"))
        yield slice(start, stop := max(stop, start + 1))
        start = stop
