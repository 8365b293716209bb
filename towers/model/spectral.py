"""Initialises the id embedding tables from the interaction graph instead of at random (`model.start=spectral`).

Shape legend: U users, I items (row 0 of both = unknown), D dimension.
"""

import torch
from torch import Tensor
from torch.nn import functional

from data.sequences.histories import Sequences
from towers.model.graph import degree_normalised

OVERSAMPLING, ITERATIONS = 10, 4
"""Number of dimensions computed beyond those that are kept, and of power iterations, of the randomised SVD."""

NOISE = 1e-3
"""Length of the noise that is added to unit vectors."""


def spectral_start(sequences: Sequences, num_items: int, embedding_dim: int, seed: int) -> tuple[Tensor, Tensor]:
    """Unit vectors of all users [U, D] and items [I, D] from the leading singular vectors of the interactions.

    A = D_u^-1/2 R D_i^-1/2, with R the distinct interactions and D_u, D_i the degrees; its truncated SVD is U S V', and
    users start at rows of U S^1/2, items at rows of V S^1/2, scaled to length 1. These are the low frequencies of the
    graph that LightGCN's propagation keeps (Shen et al. 2021, "How Powerful is Graph Convolution for Recommendation?").
    The SVD is a randomised one (Halko et al. 2011). A little noise is added so that no two rows are equal; rows without
    interactions are noise alone.
    """
    matrix = degree_normalised(sequences, num_items)
    rank = min(embedding_dim + OVERSAMPLING, *matrix.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, singular, right = torch.svd_lowrank(matrix, q=rank, niter=ITERATIONS)
        return _rows(left, singular, embedding_dim), _rows(right, singular, embedding_dim)


def _rows(vectors: Tensor, singular: Tensor, embedding_dim: int) -> Tensor:
    rows = vectors[:, :embedding_dim] * singular[:embedding_dim].sqrt()
    rows = functional.pad(rows, (0, embedding_dim - rows.shape[1]))
    rows = torch.where(rows.norm(dim=1, keepdim=True) > 1e-6, functional.normalize(rows, dim=1), 0.0)
    noise = torch.randn_like(rows)
    return functional.normalize(rows + torch.where(rows.any(1, keepdim=True), NOISE, 1.0) * noise, dim=1)
