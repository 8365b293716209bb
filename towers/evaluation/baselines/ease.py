"""EASE: a linear item-item model in closed form.

Shape legend: U users, I items (row 0 of both = unknown).
"""

import numpy as np
from scipy import sparse

from data.sequences.histories import Sequences

MAX_ITEMS = 12_000
"""Largest number of items whose matrix of all pairs is inverted: 12,000 take 2.3 GB and a minute or two."""


def ease(sequences: Sequences, num_items: int, regularisation: float) -> np.ndarray:
    """float32 [I, I]: the weights from a seen item (row) to a candidate (column).

    Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8: B = I - P / diag(P) with
    P = (X'X + regularisation)^-1 and a zero diagonal.
    """
    users_N, items_N = sequences.distinct_pairs()
    shape = (sequences.num_users, num_items)
    seen_UI = sparse.csr_array((np.ones(len(users_N), np.float64), (users_N, items_N)), shape=shape)
    gram_II = (seen_UI.T @ seen_UI).toarray()
    gram_II[np.diag_indices(num_items)] += regularisation
    inverse_II = np.linalg.inv(gram_II)
    weights_II = inverse_II / -np.diag(inverse_II)
    weights_II[np.diag_indices(num_items)] = 0.0
    return weights_II.astype(np.float32)
