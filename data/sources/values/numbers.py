"""Casts of columns to numbers and to vectors of numbers; a value that cannot be read becomes null."""

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError
from data.sources.values.columns import is_number, only, plain
from data.sources.values.times import parsed


def numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """float64 from numbers, booleans or text; NaN and infinity stay as they are.

    A number of a shorter type is the one that its shortest text says: 4.1 of a float32 or of a decimal is 4.1, as it is
    in a file of text and in a filter, and not 4.099999904632568.

    Raises:
        DataError: the column has another type.
    """
    column = plain(column)
    if pa.types.is_float32(column.type) or pa.types.is_decimal(column.type):
        return column.cast(pa.string()).cast(pa.float64())
    if pa.types.is_float16(column.type):
        return _of_halves(column)
    return rounded_numbers(column)


def rounded_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """float64 as `numbers` reads them, for what becomes a float32 next: numbers of shorter types may be rounded.

    It takes no text for them, and so a small part of the time.

    Raises:
        DataError: the column has another type.
    """
    column = plain(column)
    if pa.types.is_string(column.type):
        return parsed(column)
    if is_number(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.float64(), safe=False)
    raise DataError(f"expected numbers, not {column.type}")


def _of_halves(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The numbers that the shortest texts of float16 say, which NumPy writes and Arrow does not."""
    distinct, at = np.unique(column.cast(pa.float64()).to_numpy(), return_inverse=True)
    written = distinct.astype(np.float16).astype(str).astype(np.float64)
    return pa.chunked_array([pa.array(written[at], mask=pc.is_null(column).to_numpy())])


def vectors(column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
    """list<float> from lists of numbers, or from text such as "0.5|1"; null where any value is missing.

    Text may stand in brackets, with commas between its numbers ("[0.5, 1]") or white space alone, as NumPy writes it
    ("[0.5 1.]").

    Raises:
        DataError: the column holds neither lists of numbers nor text.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_string(kind):
        column = _members(column, separator)
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"expected lists of numbers, or text with numbers separated by {separator!r}, not {kind}")
    return pa.chunked_array([_vectors(chunk) for chunk in column.chunks], pa.list_(pa.float32()))


def _members(column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
    """list<string>: what stands between commas or, in a column without any, between separators or in white space."""
    bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(column, r"[\[\]]", " "))
    bare = only(pc.not_equal(bare, ""), bare)
    separator = "," if pc.any(pc.match_substring(bare, ",")).as_py() else separator
    words = pc.utf8_split_whitespace(bare)
    if separator.isspace():
        return words
    return pc.if_else(pc.match_substring(bare, separator), pc.split_pattern(bare, separator), words)


def _vectors(lists: pa.Array) -> pa.ListArray:
    values = rounded_numbers(pa.chunked_array([pc.list_flatten(lists)])).combine_chunks().cast(pa.float32(), safe=False)
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    lengths = np.bincount(owners, minlength=len(lists))
    is_whole = pc.fill_null(pc.is_finite(values), False).to_numpy(zero_copy_only=False)
    kept = (lengths > 0) & (np.bincount(owners, weights=~is_whole, minlength=len(lists)) == 0)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    found = pa.ListArray.from_arrays(offsets, values)
    return pc.if_else(pa.array(kept), found, pa.scalar(None, found.type))
