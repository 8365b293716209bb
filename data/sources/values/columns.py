"""Columns of any Arrow type in the few types that casts know, and numbers written as text."""

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc

MAX_EXACT = {pa.float16(): 2**11 - 1, pa.float32(): 2**24 - 1, pa.float64(): 2**53 - 1}
"""By float type, the largest n such that each whole number up to n is the only one that is stored as its float."""

ZEROS = (
    (r"\.(\d*?)0+($|[ZE+-])", r".\1\2"),
    (r"\.($|[ZE+-])", r"\1"),
    (r"^-?0E.*$", "0"),
)
"""Patterns of what says nothing in a fraction, and what is left in its place."""

MOST_BYTES = 2**31 - 2
"""Bytes of text in one Arrow array of `string`: those of 60 million ids of 36 characters. More need `large_string`."""

ROUNDED = r"^\s*[+-]?\d(?:\.(?P<fraction>\d+))?[eE]\+?(?P<exponent>\d{1,3})\s*$"
"""Pattern of numbers with an exponent, such as 1.23457E+18, as spreadsheets write long whole numbers."""


def is_rounded(text: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Whether a text is a number whose exponent says that it has more digits than are written; null counts as false.

    From a million on: no program writes smaller whole numbers so.
    """
    found = pc.extract_regex(text, ROUNDED)
    digits = pc.utf8_length(pc.struct_field(found, "fraction"))
    exponent = pc.struct_field(found, "exponent").cast(pa.int32())
    return pc.fill_null(pc.and_(pc.less(digits, exponent), pc.greater_equal(exponent, 6)), False)


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with dictionaries decoded and without extension types.

    Any type of string, and a column of nulls alone, becomes `string`.
    """
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    stringlike = pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind)
    return column.cast(pa.string()) if stringlike else column


def is_number(kind: pa.DataType) -> bool:
    """Whether a type is of integers, floats or decimals."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_coarse(kind: pa.DataType) -> bool:
    """Whether a type is of floats that are too short for unix seconds: float32 or float16."""
    return bool(pa.types.is_float32(kind) or pa.types.is_float16(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a type is of bytes that are not declared to be text."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def only(kept: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values where the mask `kept` is true, and null elsewhere."""
    return pc.if_else(kept, values, pa.scalar(None, values.type))


def whole_text(floats: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as decimal integers, such as "1001" for 1001.0; null where a value is not whole or not exact.

    A value is not exact beyond MAX_EXACT, where neighbouring whole numbers are stored as the same float.
    """
    wide = floats.cast(pa.float64())
    exact = pc.less_equal(pc.abs(wide), float(MAX_EXACT[floats.type]))  # false for NaN
    whole = pc.and_(exact, pc.equal(pc.floor(wide), wide))
    return only(whole, wide).cast(pa.int64()).cast(pa.string())


def has_fixed_fraction(kind: pa.DataType) -> bool:
    """Whether all values of a type are written with the same number of digits behind the point: decimals and times."""
    return bool(pa.types.is_decimal(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind))


def shortest_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decimals, timestamps or times of the day without zeros at the end of their fraction, as floats are written.

    The decimals 1001.00 and 0.50 are "1001" and "0.5", a timestamp of nanoseconds is written as one of seconds.
    """
    if pa.types.is_decimal(column.type) and column.type.scale < 0:  # Arrow would write 100 as 1E+2
        column = column.cast(pa.decimal256(76, 0))
    text = column.cast(pa.string())
    for pattern, replacement in ZEROS:
        text = pc.replace_substring_regex(text, pattern, replacement)
    return pc.utf8_lower(text) if pa.types.is_decimal(column.type) else text


def fitting(*columns: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    """The strings of some columns, one after the other: `string` if one array can hold all, otherwise `large_string`.

    Lists of strings become lists of either. Arrow refuses to put more into one array of `string`, and in some places
    makes a damaged one of them (`group_by`).
    """
    chunks = [c for column in columns for c in (column.chunks if isinstance(column, pa.ChunkedArray) else [column])]
    of_lists = any(pa.types.is_list(column.type) for column in columns)
    texts = (pc.list_flatten(chunk) if of_lists else chunk for chunk in chunks)
    num_bytes = sum(pc.sum(pc.binary_length(text)).as_py() or 0 for text in texts)
    kind = pa.string() if num_bytes <= MOST_BYTES else pa.large_string()
    kind = pa.list_(kind) if of_lists else kind
    return pa.chunked_array([chunk.cast(kind) for chunk in chunks], kind)


def in_one(*columns: pa.ChunkedArray | pa.Array) -> pa.Array:
    """What `fitting` returns, as one array."""
    return _joined(fitting(*columns))


def whole(*columns: pa.ChunkedArray) -> pa.Array:
    """Columns of users or items, one after the other, as one array: text, in lists too, is as wide as it must be.

    Values that are no text have the type of the first column.
    """
    kind = columns[0].type
    of_kind = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_string(of_kind) or pa.types.is_large_string(of_kind):
        return in_one(*columns)
    return _joined(pa.chunked_array([chunk for column in columns for chunk in column.cast(kind).chunks], kind))


def _joined(column: pa.ChunkedArray) -> pa.Array:
    """The chunks as one array; a single one as it is, which Arrow would copy."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def totals(values: pa.ChunkedArray, counts: pa.ChunkedArray) -> tuple[pa.ChunkedArray | pa.Array, pa.ChunkedArray]:
    """The distinct values, and the sum of the counts of each, int64.

    Args:
        values: integers, or strings of any number of bytes.
        counts: int64, of the same length.
    """
    values = fitting(values) if pa.types.is_large_string(values.type) else values
    if pa.types.is_large_string(values.type):  # `group_by` aborts the process, or makes a damaged array
        distinct = pc.unique(values)
        rows = pc.index_in(values, value_set=distinct).to_numpy()
        sums = np.zeros(len(distinct), np.int64)
        np.add.at(sums, rows, counts.to_numpy())
        return distinct, pa.chunked_array([sums])
    summed = pa.table({"value": values, "count": counts}).group_by("value", use_threads=False)
    found = summed.aggregate([("count", "sum")])
    return found["value"], found["count_sum"]
