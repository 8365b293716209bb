"""Casts of the columns of a log to the canonical types; a value that cannot be read becomes null.

A cast works on a whole column. It raises DataError only if the column's *type* can never be cast, which shows on the
driver with the first block. It raises nothing for a single value, because an error inside a Ray task is printed with
Ray's traceback around it. Such a value becomes null, and the survey or `checked` names it.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from data.sources.schema import DataError

NUMBER = r"^([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN]a[nN])$"
DATE = r"(?P<date>\d{4}-\d{2}-\d{2})"
CLOCK = r"(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,]\d+)?)?"
ZONE = r"(?:Z|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2})?)"
ISO_TIME = rf"^\s*{DATE}(?:[T ]{CLOCK})?\s*{ZONE}?\s*$"
HEAD_ROWS = 10_000
"""Number of rows of a log that `check_head` checks on the driver."""

MAX_ABS_S = 2.0**62
"""Largest time in seconds that is read from a float: larger ones may not fit into an int64."""


def ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """External ids as strings: strings stay as they are, integers are written in decimal.

    Raises:
        DataError: the column has another type.
    """
    column = _plain(column)
    if pa.types.is_string(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.string())
    raise DataError(f"ids must be strings or integers, not {column.type}: cast the column in the log")


def numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """float64 from numbers, booleans or text; NaN and infinity stay as they are.

    Raises:
        DataError: the column has another type.
    """
    column = _plain(column)
    if pa.types.is_string(column.type):
        return _parsed(column)
    if _is_number(column.type) or pa.types.is_boolean(column.type):
        return column.cast(pa.float64(), safe=False)
    raise DataError(f"expected numbers, not {column.type}")


def seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """int64 unix seconds, rounded down.

    Args:
        column: numbers, timestamps, dates, or text that holds numbers or ISO-8601 times (UTC if they name no zone).

    Raises:
        DataError: the column has another type.
    """
    column = _plain(column)
    if pa.types.is_string(column.type):
        return _text_seconds(column)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("s", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64(), safe=False)
    if _is_number(column.type):
        return _floored(column.cast(pa.float64()))
    raise DataError(f"times must be numbers, timestamps, dates or ISO-8601 text, not {column.type}")


def labels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """One string per row, from strings, numbers, booleans or dates.

    Raises:
        DataError: the column holds lists, structs or bytes.
    """
    column = _plain(column)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise DataError(f"expected one value per row, not {column.type}")
    return column.cast(pa.string())


def value_sets(column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
    """list<string> from lists, or from text such as "a|b" with a separator; null and "" give an empty list.

    Raises:
        DataError: the column holds neither lists nor text.
    """
    column = _plain(column)
    if pa.types.is_string(column.type):
        lists = pc.split_pattern(_only(pc.not_equal(column, ""), column), separator)
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lists = column.cast(pa.list_(pa.string()))
    else:
        raise DataError(f"expected lists, or text with values separated by {separator!r}, not {column.type}")
    return pc.fill_null(lists, pa.scalar([], lists.type))


INTERACTION_CASTS = {"user_id": ids, "item_id": ids, "time": seconds, "weight": numbers, "split": labels}
"""The cast of each canonical column of interactions."""


def interaction_columns(block: pa.Table, names: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """The canonical columns of a block of a log, cast.

    Args:
        names: the name that the log has for each canonical column.
    """
    return {name: INTERACTION_CASTS[name](block[column]) for name, column in names.items()}


def check_head(blocks: Iterable[pa.Table], names: Mapping[str, str], place: str, context: Sequence[str] = ()) -> None:
    """Casts the first rows of a log on the driver, where an error can name the column and the value.

    Args:
        blocks: the blocks of the log; only the first one is read.
        names: the name that the log has for each canonical column.
        place: the file, for error messages.
        context: the names of the log's columns with context features.

    Raises:
        DataError: the type of a column, or a value in it, cannot be cast.
    """
    casts = [(INTERACTION_CASTS[name], column) for name, column in names.items()]
    for block in itertools.islice(blocks, 1):
        for cast, column in (*casts, *((labels, column) for column in context)):
            checked(cast, block[column].slice(0, HEAD_ROWS), f"{place}, column {column!r}")


def checked(cast: Callable[[pa.ChunkedArray], pa.ChunkedArray], column: pa.ChunkedArray, place: str) -> pa.ChunkedArray:
    """Casts a column on the driver and refuses values that cannot be read.

    Args:
        place: file and column; the message of an error begins with it, and counts rows from 1.

    Raises:
        DataError: the column's type, or one of its values, cannot be cast.
    """
    try:
        result = cast(column)
    except DataError as e:
        raise DataError(f"{place}: {e}") from e
    lost = pc.and_(pc.is_null(result), pc.is_valid(column))
    if count := pc.sum(lost).as_py():
        row = pc.index(lost, True).as_py()
        value = column[row].as_py()
        expected = "a time" if pa.types.is_int64(result.type) else "a number"
        others = f" (nor are {count - 1} others)" if count > 1 else ""
        raise DataError(
            f"{place}: {value!r} in row {row + 1} is not {expected}{others}: correct or empty it, or use another column"
        )
    return result


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with dictionaries decoded; any type of string, and a column of nulls alone, becomes `string`."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    stringlike = pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind)
    return column.cast(pa.string()) if stringlike else column


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _only(kept: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values where the mask `kept` is true, and null elsewhere."""
    return pc.if_else(kept, values, pa.scalar(None, values.type))


def _parsed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """float64 from text; what is not a number becomes null."""
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:  # some value is not a number
        text = pc.utf8_trim_whitespace(text)
        return _only(pc.match_substring_regex(text, NUMBER), text).cast(pa.float64())


def _floored(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """int64, rounded down; NaN, infinity and numbers beyond MAX_ABS_S become null."""
    return _only(pc.less(pc.abs(values), MAX_ABS_S), pc.floor(values)).cast(pa.int64())  # NaN is not below it


def _text_seconds(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Seconds from text of numbers or ISO-8601 times."""
    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        return pc.coalesce(_floored(_parsed(text)), _iso_seconds(text))


def _iso_seconds(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Seconds from ISO-8601 times; null where the text is not one, or the day does not exist."""
    fields = pc.extract_regex(text, ISO_TIME)

    def part(name: str) -> pa.ChunkedArray:
        digits = pc.struct_field(fields, name)
        return pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64())

    date = pc.struct_field(fields, "date")
    day = pc.strptime(date, format="%Y-%m-%d", unit="s", error_is_null=True)
    day = _only(pc.equal(pc.strftime(day, "%Y-%m-%d"), date), day).cast(pa.int64())  # strptime accepts 30 February
    clock = _seconds_of(part("hour"), part("minute"), part("second"))
    shift = _seconds_of(part("zone_hour"), part("zone_minute"), 0)
    east = pc.equal(pc.struct_field(fields, "sign"), "+")
    return pc.add(pc.add(day, clock), pc.if_else(east, pc.negate(shift), shift))


def _seconds_of(hours: pa.ChunkedArray, minutes: pa.ChunkedArray, seconds: pa.ChunkedArray | int) -> pa.ChunkedArray:
    return pc.add(pc.add(pc.multiply(hours, 3600), pc.multiply(minutes, 60)), seconds)
