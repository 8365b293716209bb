"""Casts of the columns of a log to the canonical types; a value that cannot be read becomes null.

A cast works on a whole column. It raises DataError only if the column's *type* can never be cast, which shows on the
driver with the first block. It raises nothing for a single value, because an error inside a Ray task is printed with
Ray's traceback around it. Such a value becomes null, and the survey or `checked` names it. What is missing, however it
is spelled, becomes null before the cast (data/sources/values/missing.py).
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.errors import one_line
from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError
from data.sources.tabular.lists_as_text import lists_as_text
from data.sources.values.columns import (
    has_fixed_fraction,
    is_bytes,
    is_coarse,
    only,
    plain,
    shortest_text,
    whole_text,
)
from data.sources.values.ids import CURE, ids
from data.sources.values.missing import present
from data.sources.values.numbers import rounded_numbers
from data.sources.values.times import WHOLE_SECONDS, TimeUnit, seconds

HEAD_ROWS = 10_000
"""Number of rows of a log that `check_head` checks on the driver."""

MAX_SHOWN = 200
"""Most characters of a wrong value that a message shows."""

Cast = Callable[[pa.ChunkedArray], pa.ChunkedArray]


def labels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """One string per row, from strings, numbers, booleans or dates; whole numbers without ".0" or an exponent.

    Equal numbers have one text whichever their type, and so have equal times of any unit.

    Raises:
        DataError: the column holds lists, structs or bytes, or times of a zone that nobody knows.
    """
    column = plain(column)
    if pa.types.is_nested(column.type) or is_bytes(column.type):
        raise DataError(f"expected one value per row, not {column.type}")
    try:
        text = column.cast(pa.string())
    except pa.ArrowNotImplementedError as e:
        raise DataError(f"expected strings, numbers, booleans or dates, not {column.type}") from e
    except pa.ArrowInvalid as e:  # Arrow does not know the time zone
        raise DataError(
            f"{column.type} cannot be written as text ({one_line(e)}): {CURE}, or to a timestamp in UTC"
        ) from e
    if pa.types.is_floating(column.type):
        return pc.coalesce(whole_text(column), text)
    return shortest_text(column) if has_fixed_fraction(column.type) else text


def value_sets(column: pa.ChunkedArray, separator: str) -> pa.ChunkedArray:
    """list<string> from lists, or from text such as "a|b" with a separator; null and "" give an empty list.

    Text such as "['a', 'b']", as pandas and JSON write lists, is read as one.

    The values have no white space around them, and there are neither nulls nor empty ones among them.

    Raises:
        DataError: the column holds neither lists nor text.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_string(kind):
        lists = pa.chunked_array([_split(chunk, separator) for chunk in column.chunks], pa.list_(pa.string()))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lists = column
    else:
        raise DataError(f"expected lists, or text with values separated by {separator!r}, not {column.type}")
    return pa.chunked_array([_value_sets(chunk) for chunk in lists.chunks], pa.list_(pa.string()))


def _split(text: pa.Array, separator: str) -> pa.ListArray:
    divided = pc.split_pattern(only(pc.not_equal(text, ""), text), separator)
    lists = lists_as_text(text)
    return divided if lists is None else pc.if_else(pc.is_valid(lists), lists, divided)


def _value_sets(lists: pa.Array) -> pa.ListArray:
    values = labels(present(pa.chunked_array([pc.list_flatten(lists)]))).combine_chunks()
    owners = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    kept = pc.is_valid(values)
    lengths = np.bincount(owners[kept.to_numpy(zero_copy_only=False)], minlength=len(lists))
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), values.filter(kept)
    )


@dataclass(frozen=True, slots=True)
class Conventions:
    """How a log writes its values.

    Attributes:
        missing: text that stands for a missing value, besides blank text.
        time_unit: the unit of times that are numbers.
    """

    missing: tuple[str, ...] = ()
    time_unit: TimeUnit = TimeUnit.s


USUAL = Conventions()
"""Blank text is missing, and times that are numbers are seconds."""

INTERACTION_CASTS: dict[str, Cast] = {
    "user_id": ids, "item_id": ids, "time": seconds, "weight": rounded_numbers, "split": labels, "type": labels
}  # fmt: skip
"""The cast of each canonical column of interactions."""


def interaction_columns(
    block: pa.Table, names: Mapping[str, str], context: Sequence[str] = (), conventions: Conventions = USUAL
) -> dict[str, Any]:
    """The canonical columns of a block of a log, cast, as `data.sources.source.raw_block` takes them.

    Args:
        names: the name that the log has for each canonical column.
        context: the names of the log's columns with context features, which come as a list under "context".
        conventions: how the log writes missing values and times.
    """
    casts, missing = _casts(conventions), conventions.missing
    canonical = {name: casts[name](present(block[column], missing)) for name, column in names.items()}
    return {**canonical, "context": [labels(present(block[name], missing)) for name in context]}


def check_head(
    blocks: Iterable[pa.Table],
    names: Mapping[str, str],
    place: str,
    context: Sequence[str] = (),
    conventions: Conventions = USUAL,
) -> None:
    """Casts the first rows of a log on the driver, where an error can name the column and the value.

    Args:
        blocks: the blocks of the log; only the first one is read.
        names: the name that the log has for each canonical column.
        place: the file, for error messages.
        context: the names of the log's columns with context features.
        conventions: how the log writes missing values and times.

    Raises:
        DataError: the type of a column, or a value in it, cannot be cast.
    """
    casts = [(_casts(conventions)[name], column) for name, column in names.items()]
    for block in itertools.islice(blocks, 1):
        for cast, column in (*casts, *((labels, column) for column in context)):
            head = present(block[column].slice(0, HEAD_ROWS), conventions.missing)
            checked(cast, head, f"{place}, column {column!r}", "correct it, or remove its row")


def checked(
    cast: Cast,
    column: pa.ChunkedArray,
    place: str,
    cure: str = "correct or empty it, or use another column",
    owners: tuple[str, pa.ChunkedArray] | None = None,
) -> pa.ChunkedArray:
    """Casts a column on the driver and refuses values that cannot be read.

    Args:
        place: file and column; the message of an error begins with it, and counts rows from 1.
        cure: what to do about a value; the message of an error ends with it.
        owners: the name of the column of ids and the id of each row, if the message is to name the id.

    Raises:
        DataError: the column's type, or one of its values, cannot be cast.
    """
    try:
        result = cast(column)
    except DataError as e:
        raise DataError(f"{place}: {e}") from e
    lost = pc.and_(pc.is_null(result), pc.invert(_is_empty(column)))
    if count := pc.sum(lost).as_py():
        row = pc.index(lost, True).as_py()
        expected, how = "a list of finite numbers" if pa.types.is_list(result.type) else "a number", ""
        if cast is ids:
            expected, cure = f"an exact whole number, and ids must be strings or integers, not {column.type}", CURE
        elif pa.types.is_int64(result.type):
            expected, cure, how = _expected_time(plain(column).type, cure)
        others = f" (nor are {count - 1} others)" if count > 1 else ""
        owner = f" ({owners[0]} {owners[1][row].as_py()!r})" if owners else ""
        value = repr(column[row].as_py())
        value = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
        raise DataError(f"{place}: {value} in row {row + 1}{owner} is not {expected}{others}: {cure}{how}")
    return result


def _expected_time(kind: pa.DataType, cure: str) -> tuple[str, str, str]:
    """What a value of a column of times should be, and the two parts of the cure."""
    if is_coarse(kind):
        return f"an exact time, because float{kind.bit_width} has too few digits", WHOLE_SECONDS, ""
    return "a time", cure, "; write times as unix seconds or as 2019-10-01 00:00:07"


def _is_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A mask of the values that are null or, among lists, empty."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pc.or_kleene(pc.is_null(column), pc.equal(pc.list_value_length(column), 0))
    return pc.is_null(column)


def _casts(conventions: Conventions) -> dict[str, Cast]:
    return {**INTERACTION_CASTS, "time": partial(seconds, unit=conventions.time_unit)}
