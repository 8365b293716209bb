"""Sets of rows as sorted numbers: who is among them (`numpy.isin` without its sorting), and the distinct ones.

Shape legend: N interactions.
"""

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


def last_copies(user_rows_N: np.ndarray, times_N: np.ndarray, item_rows_N: np.ndarray) -> np.ndarray:
    """int64 [N]: the index of the last interaction with the same user, time and item; its own where there is no later.

    Args:
        user_rows_N: sorted; each user's interactions are oldest first.
    """
    is_same = (user_rows_N[1:] == user_rows_N[:-1]) & (times_N[1:] == times_N[:-1])
    last_N = np.arange(len(user_rows_N))
    tied = np.flatnonzero(np.append(is_same, False) | np.insert(is_same, 0, False))
    if not len(tied):
        return last_N
    by = tied[np.lexsort((item_rows_N[tied], times_N[tied], user_rows_N[tied]))]
    is_end = np.ones(len(by), dtype=bool)
    is_end[:-1] = np.any([of_N[by][1:] != of_N[by][:-1] for of_N in (user_rows_N, times_N, item_rows_N)], axis=0)
    ends = by[is_end]
    last_N[by] = ends[np.cumsum(is_end) - is_end]
    return last_N
