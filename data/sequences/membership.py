"""Sets of rows as sorted numbers: who is among them (`numpy.isin` without its sorting), and the distinct ones."""

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


def distinct(values: np.ndarray) -> np.ndarray:
    """The distinct numbers of an array, ascending: `numpy.unique` without its hash table.

    That takes longer for short arrays, and five times the memory for long ones.
    """
    ascending = np.sort(values)
    is_first = np.empty(len(ascending), dtype=bool)
    is_first[:1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=is_first[1:])
    return ascending[is_first]
