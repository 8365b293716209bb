"""Bootstrap over users: how far a mean would move with other users, and whether a paired difference is more than that.

Shape legend: Q queries (users), M columns (metrics), S resamples.
"""

from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
RESAMPLES = 1_000
FLIPS = 10_000
CHUNK = 100


def bootstrap_means(values_QM: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """float64 [S, M]: the column means of users drawn with replacement (Efron 1979).

    The same draws for all columns, so that their differences are paired.
    """
    num_queries, values_QM = len(values_QM), values_QM.astype(np.float32)
    sums = [draws_SQ @ values_QM for draws_SQ in _draws(num_queries, seed, resamples)]
    return np.concatenate(sums).astype(np.float64) / num_queries


def intervals(values_QM: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """float64 [M, 2]: percentile intervals of the column means at LEVEL."""
    outside = 100 * (1 - LEVEL) / 2
    means_SM = bootstrap_means(values_QM, seed, resamples)
    return np.percentile(means_SM, [outside, 100 - outside], axis=0).T


def sign_flip_test(difference_QM: np.ndarray, seed: int, flips: int = FLIPS) -> np.ndarray:
    """float64 [M]: two-sided p of each column's mean under "either of a pair could have been the other".

    Fisher's randomisation test for paired samples (Smucker et al. 2007): signs are flipped by user, the same for all
    columns; p = (1 + flips that reach the observed |mean|) / (1 + flips).
    """
    random = np.random.default_rng(seed)
    difference_QM = difference_QM.astype(np.float32)
    observed_M = np.abs(difference_QM.sum(0, dtype=np.float64))
    reached_M = np.zeros(difference_QM.shape[1], dtype=np.int64)
    num_queries, done = len(difference_QM), 0
    while done < flips:
        size = min(CHUNK, flips - done)
        bits = np.unpackbits(random.integers(0, 256, (size, -(-num_queries // 8)), dtype=np.uint8), axis=1)
        # sum of signs * d = 2 * (sum of d where the bit is set) - (sum of d)
        flipped_SM = 2 * (bits[:, :num_queries].astype(np.float32) @ difference_QM) - difference_QM.sum(0)
        reached_M += (np.abs(flipped_SM) >= observed_M - 1e-6 * np.maximum(observed_M, 1)).sum(0)
        done += size
    return (1 + reached_M) / (1 + flips)


def _draws(num_queries: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each query is drawn: float32 [CHUNK, Q] at a time, rows summing to Q."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        drawn_SQ = random.integers(0, num_queries, (size, num_queries))
        flat = (drawn_SQ + np.arange(size)[:, None] * num_queries).ravel()
        yield np.bincount(flat, minlength=size * num_queries).reshape(size, num_queries).astype(np.float32)
