"""Finds one string among many in the Arrow array that holds them, without a dictionary of Python objects.

A dictionary of a million ids takes some 150 MiB, and half a second in which no other thread runs, to make and again to
free. This index takes one `bytes` per block of strings, and two microseconds per look-up.
"""

from bisect import bisect_right

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 64
"""Strings between two that are kept apart, by which a look-up begins."""

NOT_FOUND = -1


class StringIndex:
    """The places of distinct strings in an array.

    Args:
        values: string or large_string, distinct and without nulls. Where they are not ascending, the index holds their
            order too, eight bytes each.
    """

    def __init__(self, values: pa.Array) -> None:
        _, offsets, data = values.buffers()
        wide = pa.types.is_large_string(values.type)
        first = values.offset * (8 if wide else 4)
        size = (len(values) + 1) * (8 if wide else 4)
        self._offsets = memoryview(offsets)[first : first + size].cast("q" if wide else "i") if len(values) else [0]
        self._data = memoryview(b"" if data is None else data)
        self._size = len(values)
        order = None if is_ascending(values) else pc.sort_indices(values).to_numpy().astype(np.int64)
        self._order = None if order is None else memoryview(order)
        self._firsts = [self._string(place) for place in range(0, self._size, BLOCK)]

    def place(self, value: str) -> int:
        """The place of a string in the array, or NOT_FOUND."""
        wanted = value.encode(errors="surrogatepass")
        low = BLOCK * (bisect_right(self._firsts, wanted) - 1)
        high = min(low + BLOCK, self._size)
        if low < 0:
            return NOT_FOUND
        while high - low > 1:  # the string is at `low`, if anywhere below `high`
            middle = (low + high) // 2
            if self._string(middle) <= wanted:
                low = middle
            else:
                high = middle
        if self._string(low) != wanted:
            return NOT_FOUND
        return low if self._order is None else self._order[low]

    def _string(self, number: int) -> bytes:
        """The string of this number in ascending order, as UTF-8."""
        place = number if self._order is None else self._order[number]
        return bytes(self._data[self._offsets[place] : self._offsets[place + 1]])


def is_ascending(values: pa.Array) -> bool:
    """Whether each string comes after the one before it by its UTF-8, which is the order of their code points.

    They are then distinct too. There must be no null.
    """
    return len(values) < 2 or bool(pc.all(pc.less(values[:-1], values[1:])).as_py())
