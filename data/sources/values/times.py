"""Times of interactions as unix seconds, from numbers in several units, timestamps, dates and ISO-8601 text."""

from enum import Enum

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError
from data.sources.values.columns import MAX_EXACT, is_coarse, is_number, is_rounded, only, plain

DATE = r"(?P<date>\d{4}-\d{2}-\d{2})"
CLOCK = r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,]\d+)?)?"
UTC = r"(?:[+-]00:?00\s*)?(?i:z|utc|gmt)"
OFFSET = r"(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2})?"
ISO_TIME = rf"^\s*{DATE}(?:[Tt ]{CLOCK})?\s*(?:(?:{UTC}|{OFFSET})(?:\[[\w/+-]+\])?)?\s*$"
"""Pattern of ISO-8601 times. A zone in brackets, as Java writes it, is accepted after an offset, which alone counts."""

NUMBER = r"^([+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity))|[nN]a[nN])$"

MAX_ABS_S = 2.0**62
"""Largest time in seconds that is read from a float: larger ones may not fit into an int64."""

MAX_DAYS = 10**9
"""Numbers of days beyond this one, in either direction, are cut to it, so that seconds fit into an int64.

It lies past the year 9999, and as far before 1970.
"""

DAY_S = 86_400

NO_CLOCK = (
    "a log needs an order: if it has no clock, name a column with a running number and set data.clock=order and"
    " data.split.kind=leave_last_out"
)
"""Cure in messages about a log without times."""


WHOLE_SECONDS = "cast the column to int64, or write whole seconds, before it becomes such a type"
"""Cure in messages about times in floats that are too short for them."""


class TimeUnit(Enum):
    """Unit of numbers in the column of times, which count since 1970."""

    s = "s"
    ms = "ms"
    us = "us"
    ns = "ns"
    days = "days"


PER_SECOND = {TimeUnit.s: 1, TimeUnit.ms: 10**3, TimeUnit.us: 10**6, TimeUnit.ns: 10**9}


def seconds(column: pa.ChunkedArray, unit: TimeUnit = TimeUnit.s) -> pa.ChunkedArray:
    """int64 unix seconds, rounded down; what is no time becomes null.

    So does a number in a float32 or float16 beyond the integers that such a type holds exactly.

    Args:
        column: numbers, timestamps, dates, or text that holds numbers or ISO-8601 times. A text may end with its zone:
            "Z", "UTC", "GMT" or an offset such as "+02:00"; without one it is in UTC.
        unit: the unit of numbers. Text that has lost digits, such as 1.57E+09, is no time, but in nanoseconds: there
            floats are written so.

    Raises:
        DataError: the column has another type.
    """
    column = plain(column)
    if pa.types.is_string(column.type):
        return _text_seconds(column, unit)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("s", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    if pa.types.is_uint64(column.type):
        return _of_integers(only(pc.less(column, pa.scalar(2**62, pa.uint64())), column).cast(pa.int64()), unit)
    if pa.types.is_integer(column.type):
        return _of_integers(column.cast(pa.int64(), safe=False), unit)
    if is_coarse(column.type):  # beyond the bound, moments next to each other are stored as one
        wide = column.cast(pa.float64())
        return _of_floats(only(pc.less_equal(pc.abs(wide), float(MAX_EXACT[column.type])), wide), unit)
    if is_number(column.type):
        return _of_floats(column.cast(pa.float64()), unit)
    raise DataError(f"times must be numbers, timestamps, dates or ISO-8601 text, not {column.type}")


def parsed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """float64 from text, infinite for "inf" and what is too large; what is not a number becomes null."""
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:  # some value is not a number
        text = pc.utf8_trim_whitespace(text)
        return only(pc.match_substring_regex(text, NUMBER), text).cast(pa.float64())


def _of_integers(values: pa.ChunkedArray, unit: TimeUnit) -> pa.ChunkedArray:
    if unit is TimeUnit.days:
        return pc.multiply(_cut(values, MAX_DAYS), DAY_S)
    if unit is TimeUnit.s:
        return values
    quotient = pc.divide(values, PER_SECOND[unit])  # rounded towards 0
    is_above = pc.greater(pc.multiply(quotient, PER_SECOND[unit]), values)
    return pc.subtract(quotient, is_above.cast(pa.int64()))


def _cut(values: pa.ChunkedArray, most: int) -> pa.ChunkedArray:
    """The values, or `most` and -`most` in place of what lies beyond."""
    return pc.max_element_wise(pc.min_element_wise(values, most, skip_nulls=False), -most, skip_nulls=False)


def _of_floats(values: pa.ChunkedArray, unit: TimeUnit) -> pa.ChunkedArray:
    """int64, rounded down; NaN, infinity and times beyond MAX_ABS_S become null."""
    is_days = unit is TimeUnit.days
    values = pc.multiply(values, float(DAY_S)) if is_days else pc.divide(values, float(PER_SECOND[unit]))
    return only(pc.less(pc.abs(values), MAX_ABS_S), pc.floor(values)).cast(pa.int64())  # NaN is not below it


def _text_seconds(text: pa.ChunkedArray, unit: TimeUnit) -> pa.ChunkedArray:
    """Seconds from text of numbers or ISO-8601 times."""
    try:
        if pc.any(pc.match_substring(text, "x", ignore_case=True)).as_py():
            raise pa.ArrowInvalid("Arrow would read hexadecimal integers")
        return _of_integers(text.cast(pa.int64()), unit)
    except pa.ArrowInvalid:
        numbers = parsed(text)
        if unit is not TimeUnit.ns and numbers.null_count < len(numbers):
            numbers = only(pc.invert(is_rounded(text)), numbers)
        return pc.coalesce(_of_floats(numbers, unit), _iso_seconds(text))


def _iso_seconds(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Seconds from ISO-8601 times; null where the text is not one, or the day does not exist."""
    fields = pc.extract_regex(text, ISO_TIME)

    def part(name: str) -> pa.ChunkedArray:
        digits = pc.struct_field(fields, name)
        return pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64())

    date = pc.struct_field(fields, "date")
    day = pc.strptime(date, format="%Y-%m-%d", unit="s", error_is_null=True)
    day = only(pc.equal(pc.strftime(day, "%Y-%m-%d"), date), day).cast(pa.int64())  # strptime accepts 30 February
    clock = _seconds_of(part("hour"), part("minute"), part("second"))
    shift = _seconds_of(part("zone_hour"), part("zone_minute"), 0)
    east = pc.equal(pc.struct_field(fields, "sign"), "+")
    return pc.add(pc.add(day, clock), pc.if_else(east, pc.negate(shift), shift))


def _seconds_of(hours: pa.ChunkedArray, minutes: pa.ChunkedArray, seconds: pa.ChunkedArray | int) -> pa.ChunkedArray:
    return pc.add(pc.add(pc.multiply(hours, 3600), pc.multiply(minutes, 60)), seconds)
