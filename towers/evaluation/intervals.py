"""Confidence intervals and significance tests by resampling users, and random samples of users.

Shape legend: Q queries (users), M columns (metrics), S resamples.
"""

from collections.abc import Iterator

import numpy as np

LEVEL = 0.95
"""Confidence level of all intervals."""

SEED = 0
"""Seed of all resampling, so that the same measurement gives the same intervals."""

SAMPLE_SEED = 20
"""Seed of random samples of users; it is fixed, so that two models are compared on the same users."""

MIN_USERS = 20
"""With fewer users nothing is decided by an interval, and reports say that it means little: the mean of one user has an
interval of no width."""

RESAMPLES = 1_000
"""Default number of resamples of a bootstrap."""

LEAST_RESAMPLES = 100
"""With fewer resamples the bounds of an interval are hardly more than the lowest and the highest one of them."""

FLIPS = 10_000
"""Default number of sign flips of a test."""

CHUNK = 100
"""Number of resamples that are computed at a time at most."""

ENTRIES = 1 << 24
"""Number of draws that are held at a time, which bounds memory where there are many users (24 bytes each)."""


def drawn(num: int, most: int) -> np.ndarray:
    """int64 [most]: the users of a sample, of `num`, ascending; the same ones for the same numbers."""
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(num, most, replace=False))


def bootstrap_means(values_QM: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """float64 [S, M]: the column means of users drawn with replacement (Efron 1979).

    All columns share the same draws, so that differences between them are paired.
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
    """float64 [M]: two-sided p-value of each column's mean under the hypothesis that the two models are exchangeable.

    Fisher's randomisation test for paired samples (Smucker et al. 2007). The signs of the differences are flipped user
    by user, in the same way for all columns; p = (1 + number of flips that reach the observed |mean|) / (1 + flips).
    """
    random = np.random.default_rng(seed)
    difference_QM = difference_QM.astype(np.float32)
    observed_M = np.abs(difference_QM.sum(0, dtype=np.float64))
    reached_M = np.zeros(difference_QM.shape[1], dtype=np.int64)
    num_queries, done = len(difference_QM), 0
    while done < flips:
        size = min(_at_a_time(num_queries), flips - done)
        bits = np.unpackbits(random.integers(0, 256, (size, -(-num_queries // 8)), dtype=np.uint8), axis=1)
        # sum of signs * d = 2 * (sum of d where the bit is set) - (sum of d)
        flipped_SM = 2 * (bits[:, :num_queries].astype(np.float32) @ difference_QM) - difference_QM.sum(0)
        reached_M += (np.abs(flipped_SM) >= observed_M - 1e-6 * np.maximum(observed_M, 1)).sum(0)
        done += size
    return (1 + reached_M) / (1 + flips)


def _draws(num_queries: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each query is drawn in each resample: float32 [s, Q] at a time; each row sums to Q."""
    random, at_a_time = np.random.default_rng(seed), _at_a_time(num_queries)
    for start in range(0, resamples, at_a_time):
        size = min(at_a_time, resamples - start)
        drawn_SQ = random.integers(0, num_queries, (size, num_queries))
        flat = (drawn_SQ + np.arange(size)[:, None] * num_queries).ravel()
        yield np.bincount(flat, minlength=size * num_queries).reshape(size, num_queries).astype(np.float32)


def _at_a_time(num_queries: int) -> int:
    return max(min(CHUNK, ENTRIES // max(num_queries, 1)), 1)
