"""Matrix factorisation of implicit feedback by alternating least squares (iALS).

Shape legend: U users, I items (row 0 of both = unknown), B users of a batch, L longest history of a batch, D dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences

ITERATIONS = 8
ENTRIES = 1 << 24
"""Number of gathered values (4 bytes each) that are held at a time."""


@dataclass(frozen=True, slots=True)
class AlsSettings:
    """The settings of iALS.

    Attributes:
        unobserved: weight of a pair without an interaction, beside 1 for one with.
        regularisation: weight of the squared lengths of the vectors.
        dim: D.
    """

    unobserved: float
    regularisation: float
    dim: int = 64

    def __str__(self) -> str:
        return f"unobserved weight {self.unobserved:g}, regularisation {self.regularisation:g}, {self.dim} dimensions"


def fit_items(sequences: Sequences, num_items: int, settings: AlsSettings, seed: int = 0) -> Tensor:
    """The item vectors, float32 [I, D], of a factorisation of the distinct interactions.

    Rendle et al. 2022, "Revisiting the Performance of iALS on Item Recommendation Benchmarks": each side in turn
    minimises sum_observed (1 - s)^2 + unobserved * sum_all s^2 + sum of lambda_row |row|^2, with the frequency-scaled
    lambda_row = regularisation * (number of interactions + unobserved * number of entities of the other side).
    """
    by_user = distinct(sequences, num_items)
    users_N, items_N = by_user.distinct_pairs()
    by_item = _grouped(items_N, users_N, num_items)
    generator = torch.Generator().manual_seed(seed)
    item_ID = torch.randn(num_items, settings.dim, generator=generator) * 0.1 * settings.dim**-0.5
    for _ in range(ITERATIONS):
        user_UD = solve(by_user, item_ID, settings)
        item_ID = solve(by_item, user_UD, settings)
    item_ID[0] = 0
    return item_ID


def solve(rows: Sequences, other_ND: Tensor, settings: AlsSettings) -> Tensor:
    """float32 [rows, D]: the best vector of each row, given those of the other side; zero for rows without any.

    Args:
        rows: for each row the distinct entities of the other side that it has an interaction with.
    """
    lengths = rows.lengths_U
    found, dim = torch.zeros(len(lengths), settings.dim), settings.dim
    gram_DD = settings.unobserved * other_ND.T @ other_ND
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    start, identity_DD = 0, torch.eye(dim)
    while start < len(order):
        size = max(ENTRIES // (int(lengths[order[start]]) * dim + dim * dim), 1)
        at = order[start : start + size]
        longest = int(lengths[at].max())
        at = at[: max(ENTRIES // (longest * dim + dim * dim), 1)]
        history_BL = torch.from_numpy(rows.last(at, int(lengths[at].max())).astype(np.int64))
        vector_BLD = other_ND[history_BL] * (history_BL > 0)[..., None]
        weight_B11 = torch.from_numpy(lengths[at] + settings.unobserved * len(other_ND)).float()[:, None, None]
        matrix_BDD = vector_BLD.transpose(1, 2) @ vector_BLD + gram_DD
        matrix_BDD += settings.regularisation * weight_B11 * identity_DD
        found[at] = torch.linalg.solve(matrix_BDD, vector_BLD.sum(1))
        start += len(at)
    return found


def distinct(sequences: Sequences, num_items: int) -> Sequences:
    """Each user's distinct items."""
    users_N, items_N = sequences.distinct_pairs()
    return _grouped(users_N, items_N, sequences.num_users)


def _grouped(owners_N: np.ndarray, members_N: np.ndarray, num_owners: int) -> Sequences:
    order = np.argsort(owners_N, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners_N, minlength=num_owners))]).astype(np.int64)
    return Sequences(offsets, members_N[order].astype(np.int32))
