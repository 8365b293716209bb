"""External ids: one transform, wherever ids enter, so that equal ids meet.

The log, the tables of users and items, recommend.users, serve.refresh and outcomes all read their ids by it. Requests
strip white space too (`Id` in serve/api/schemas.py).
"""

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError
from data.sources.values.columns import only, plain, whole_text

CURE = "cast the column to string or int64 where the file is written"

WHOLE_DECIMAL = r"^(-?\d+)(?:\.0*)?$"
"""A decimal number without a fraction."""

DECORATED = r"^0*(\d+?)(?:\.0+)?$"
"""Digits, perhaps with zeros before them and ".0" behind them."""


def ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """External ids as strings, without white space around them.

    Integers are written in decimal, and so are floats and decimals that are whole numbers: 1001.0 is "1001". A float
    that is not whole, or too large to be exact, becomes null, because the ids before and after it are stored alike.

    Raises:
        DataError: the column has another type.
    """
    column = plain(column)
    if pa.types.is_string(column.type):
        return pc.utf8_trim_whitespace(column)
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    if pa.types.is_floating(column.type):
        return whole_text(column)
    if pa.types.is_decimal(column.type):
        text = column.cast(pa.string())
        is_whole = pc.match_substring_regex(text, WHOLE_DECIMAL)
        return pc.replace_substring_regex(only(is_whole, text), WHOLE_DECIMAL, r"\1")
    raise DataError(f"ids must be strings or integers, not {column.type}: {CURE}")


def undecorated(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Ids of digits without leading zeros and without ".0" at their end; other ids as they are.

    Two ids that become equal are probably one id, written in two ways.
    """
    return pc.replace_substring_regex(values, DECORATED, r"\1")
