"""Matrix factorisation of implicit feedback by alternating least squares (iALS).

Shape legend: U users, I items (row 0 of both = unknown), R rows of either, N those of the other side, B rows of a
batch, L longest history of a batch, D dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.sequences.histories import Sequences

ITERATIONS = 8
ENTRIES = 1 << 22
"""Number of gathered values (4 bytes each) that are held at a time."""

TOLERANCE, MOST_STEPS = 1e-3, 50
"""A row is solved once its residual is this share of the right-hand side; and after how many steps it is left."""


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
    drawn_ID = torch.randn(num_items, settings.dim, generator=generator) * 0.1 * settings.dim**-0.5
    user_UD = solve(by_user, drawn_ID, settings)
    item_ID = solve(by_item, user_UD, settings)
    for _ in range(ITERATIONS - 1):
        user_UD = solve(by_user, item_ID, settings, user_UD)
        item_ID = solve(by_item, user_UD, settings, item_ID)
    return item_ID


def solve(rows: Sequences, other_ND: Tensor, settings: AlsSettings, start_RD: Tensor | None = None) -> Tensor:
    """float32 [R, D]: the best vector of each row, given those of the other side; zero for rows without any.

    Args:
        rows: for each row the distinct entities of the other side that it has an interaction with.
        start_RD: vectors to start from, such as those of the iteration before; they save steps.
    """
    lengths, dim = rows.lengths_U, settings.dim
    found_RD = torch.zeros(len(lengths), dim) if start_RD is None else start_RD.clone()
    gram_DD = settings.unobserved * other_ND.T @ other_ND
    weight_R = torch.from_numpy(settings.regularisation * (lengths + settings.unobserved * len(other_ND))).float()
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    near_DD = torch.linalg.inv(gram_DD + weight_R[order].mean() * torch.eye(dim)) if len(order) else gram_DD
    start = 0
    while start < len(order):
        size = max(ENTRIES // (int(lengths[order[start]]) * dim + dim), 1)
        longest = int(lengths[order[start : start + size]].max())
        at = order[start : start + max(ENTRIES // (longest * dim + dim), 1)]
        history_BL = torch.from_numpy(rows.last(at, int(lengths[at].max())).astype(np.int64))
        vector_BLD = other_ND[history_BL].mul_((history_BL > 0)[..., None])
        found_RD[at] = _conjugate_gradients(found_RD[at], vector_BLD, gram_DD, weight_R[at][:, None], near_DD)
        start += len(at)
    return found_RD


def _conjugate_gradients(
    start_BD: Tensor, vector_BLD: Tensor, gram_DD: Tensor, weight_B1: Tensor, near_DD: Tensor
) -> Tensor:
    """float32 [B, D]: solves (vectors^T vectors + gram + weight) x = sum of the vectors, for each row.

    Conjugate gradients (Takacs et al. 2011, "Applications of the conjugate gradient method for implicit feedback
    collaborative filtering") need neither the matrix of a row nor its decomposition. A row's matrix differs from one
    that all rows share by its few interactions, so that the inverse of this one makes three steps or so enough.

    Args:
        near_DD: the inverse of a matrix that is near to those of all rows (a preconditioner).
    """

    def product(x_BD: Tensor) -> Tensor:
        scores_BL1 = torch.bmm(vector_BLD, x_BD[..., None])
        return torch.bmm(scores_BL1.mT, vector_BLD)[:, 0] + x_BD @ gram_DD + weight_B1 * x_BD

    wanted_BD, found_BD = vector_BLD.sum(1), start_BD
    residual_BD, tiny = wanted_BD - product(found_BD), torch.finfo(torch.float32).tiny
    enough_B = TOLERANCE * wanted_BD.norm(dim=1)
    direction_BD, length_B1 = torch.zeros_like(found_BD), torch.ones(len(found_BD), 1)
    for _ in range(MOST_STEPS):
        if (residual_BD.norm(dim=1) <= enough_B).all():
            break
        scaled_BD = residual_BD @ near_DD
        before_B1, length_B1 = length_B1, (residual_BD * scaled_BD).sum(1, keepdim=True)
        direction_BD = scaled_BD + length_B1 / before_B1.clamp_min(tiny) * direction_BD
        moved_BD = product(direction_BD)
        step_B1 = length_B1 / (direction_BD * moved_BD).sum(1, keepdim=True).clamp_min(tiny)
        found_BD, residual_BD = found_BD + step_B1 * direction_BD, residual_BD - step_B1 * moved_BD
    return found_BD


def distinct(sequences: Sequences, num_items: int) -> Sequences:
    """Each user's distinct items."""
    users_N, items_N = sequences.distinct_pairs()
    return _grouped(users_N, items_N, sequences.num_users)


def _grouped(owners_N: np.ndarray, members_N: np.ndarray, num_owners: int) -> Sequences:
    order = np.argsort(owners_N, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners_N, minlength=num_owners))]).astype(np.int64)
    return Sequences(offsets, members_N[order].astype(np.int32))
