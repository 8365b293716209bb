"""Finds many strings at a time among many, by arrays that processes can share.

Arrow's own search (`pyarrow.compute.index_in`) builds a hash table of all strings for each call: with millions of them,
that is most of the work of a call for some hundred thousand. Here the strings' hashes are sorted once.

Shape legend: N strings that are searched, Q strings that are looked for.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BASE = np.uint64(0x9E3779B97F4A7C15)
"""The base of the polynomial whose coefficients are a string's bytes: an odd number of 64 bits, of the golden ratio."""

BLOCK_BYTES = 1 << 22
"""Bytes of strings that are hashed at a time, in some 20 times as much memory."""

NOT_FOUND = -1


@dataclass(frozen=True, slots=True)
class StringHashes:
    """The places of distinct strings in an array, by the strings' hashes.

    Attributes:
        hash_N: uint64, ascending.
        place_N: int64, the place of the string with each hash.
    """

    hash_N: np.ndarray
    place_N: np.ndarray

    @classmethod
    def of(cls, values: pa.Array) -> "StringHashes":
        """The hashes of distinct strings without nulls."""
        hash_N = hashes(values)
        order = np.argsort(hash_N, kind="stable")
        return cls(hash_N[order], order)

    def places(self, values: pa.Array, wanted: pa.Array) -> np.ndarray:
        """int64 [Q]: the place of each wanted string in the values; NOT_FOUND for null and for what is not there.

        Args:
            values: those that the hashes are of.
        """
        if not len(self.hash_N):
            return np.full(len(wanted), NOT_FOUND)
        hash_Q = hashes(wanted)
        at_Q = np.searchsorted(self.hash_N, hash_Q).clip(max=len(self.hash_N) - 1)
        place_Q = self.place_N[at_Q]
        has_hash_Q = self.hash_N[at_Q] == hash_Q
        is_same_Q = pc.fill_null(pc.equal(values.take(pa.array(place_Q)), wanted), False).to_numpy(zero_copy_only=False)
        found_Q = np.where(has_hash_Q & is_same_Q, place_Q, NOT_FOUND)
        doubtful = (has_hash_Q & ~is_same_Q).nonzero()[0]  # nulls, and strings with the hash of another one
        if len(doubtful):
            found = pc.fill_null(pc.index_in(wanted.take(pa.array(doubtful)), value_set=values), NOT_FOUND)
            found_Q[doubtful] = np.where(pc.is_null(wanted.take(pa.array(doubtful))), NOT_FOUND, found)
        return found_Q


def hashes(values: pa.Array) -> np.ndarray:
    """uint64: the value of each string's polynomial, modulo 2 ** 64; that of null is that of the empty string."""
    if not len(values):
        return np.zeros(0, dtype=np.uint64)
    wide = values.cast(pa.large_string())
    _, offsets, data = wide.buffers()
    offset_N1 = np.frombuffer(offsets, np.int64, len(wide) + 1, 8 * wide.offset)
    bytes_ = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    firsts = [
        0,
        *np.unique(np.searchsorted(offset_N1, np.arange(offset_N1[0], offset_N1[-1], BLOCK_BYTES)[1:])),
        len(wide),
    ]
    blocks = [
        _of_block(offset_N1[first : last + 1], bytes_[offset_N1[first] : offset_N1[last]])
        for first, last in zip(firsts[:-1], firsts[1:], strict=True)
        if first < last
    ]
    return np.concatenate(blocks)


def _of_block(offset_N1: np.ndarray, bytes_: np.ndarray) -> np.ndarray:
    starts, lengths = offset_N1[:-1] - offset_N1[0], np.diff(offset_N1)
    power_L = np.cumprod(np.full(max(int(lengths.max()), 1), BASE))
    position = np.arange(len(bytes_)) - np.repeat(starts, lengths)
    sums = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum((bytes_.astype(np.uint64) + np.uint64(1)) * power_L[position])]
    )
    return sums[starts + lengths] - sums[starts]
