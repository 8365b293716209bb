"""Membership in sorted numbers, for arrays of any shape: `numpy.isin` without its sorting."""

import numpy as np


def is_among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """bool, of the shape of `values`: which of them are among the numbers of `ascending`.

    Args:
        ascending: one-dimensional; it may be empty, and have a number several times.
    """
    if not len(ascending):
        return np.zeros(values.shape, dtype=bool)
    found: np.ndarray = ascending[np.searchsorted(ascending, values).clip(max=len(ascending) - 1)] == values
    return found
