"""Missing values that are spelled as text, such as "nan": they become null before a column is cast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.values.columns import is_number, only, plain
from data.sources.values.numbers import numbers
from data.sources.values.times import parsed

SPELLINGS = ("nan", "NaN", "None", "NULL", "null", "\\N", "<NA>", "NaT")
"""How pandas, NumPy, Python, SQL and Hive write a missing value. "NA" is not among them: it can be an id."""


def present(column: pa.ChunkedArray, spellings: Sequence[str] = ()) -> pa.ChunkedArray:
    """The column with null for what is missing: blank text, text in `spellings`, numbers written so, and NaN.

    Text has no white space around it any more; columns of text and dictionaries become `string`.
    """
    column = plain(column)
    if pa.types.is_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        return only(pc.invert(is_missing(text, spellings)), text)
    if pa.types.is_floating(column.type):
        wide = column.cast(pa.float64())
        column = only(pc.invert(pc.is_nan(wide)), column)
    return _without(column, spellings) if is_number(column.type) else column


def _without(column: pa.ChunkedArray, spellings: Sequence[str]) -> pa.ChunkedArray:
    """The numbers with null for those that a spelling writes, such as "-1"."""
    texts = pa.array([text.strip() for text in spellings], pa.string())
    values = parsed(pa.chunked_array([texts])).combine_chunks()
    is_written = pc.fill_null(pc.invert(pc.is_nan(values)), False)
    if not pc.any(is_written).as_py():
        return column
    if pa.types.is_integer(column.type):  # as text, since large ones are not exact as floats
        found = pc.is_in(column.cast(pa.string()), texts.filter(is_written))
    else:
        found = pc.is_in(numbers(column), values.filter(is_written))
    return only(pc.invert(found), column)


def is_missing(trimmed: pa.Array | pa.ChunkedArray, spellings: Sequence[str]) -> pa.Array | pa.ChunkedArray:
    """A mask of the blank texts and those in `spellings`; null stays null.

    Args:
        trimmed: text without white space around it.
    """
    return pc.or_(pc.equal(trimmed, ""), pc.is_in(trimmed, pa.array([text.strip() for text in spellings], pa.string())))


@dataclass(frozen=True, slots=True)
class MissingText:
    """The spellings of a log, and how many values of each column of its tables were spelled so.

    Attributes:
        spellings: text that stands for a missing value.
        counts: by table and column, such as "items.brand": the number of values that were neither empty nor NaN in a
            column of numbers, and were read as missing; columns without such values are left out.
    """

    spellings: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def present(self, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        """The column without what is missing, see `present`; counts the values that this changes."""
        found = present(column, self.spellings)
        column = plain(column)
        if pa.types.is_string(column.type):
            self._add(name, pc.sum(pc.and_(pc.is_null(found), pc.not_equal(column, ""))).as_py())
        elif is_number(column.type):
            self._add(name, found.null_count - present(column).null_count)
        return found

    def lines(self) -> list[str]:
        """What to say of the counts: one line, or none where nothing was read as missing."""
        return missing_lines(self.counts)

    def members(self, lists: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        """Lists of strings with trimmed values, without those that are missing; counts these, the empty ones apart.

        Args:
            lists: list<string>. Null stays null.
        """
        return pa.chunked_array([self._members(chunk, name) for chunk in lists.chunks], lists.type)

    def _members(self, lists: pa.ListArray, name: str) -> pa.ListArray:
        flat, owners = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        text = pc.utf8_trim_whitespace(flat)
        kept = pc.invert(pc.fill_null(is_missing(text, self.spellings), True))
        self._add(name, pc.sum(pc.and_(pc.invert(kept), pc.not_equal(flat, ""))).as_py())
        lengths = np.bincount(owners[kept.to_numpy(zero_copy_only=False)], minlength=len(lists))
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, text.filter(kept), mask=pc.is_null(lists))

    def _add(self, name: str, count: int | None) -> None:
        if count:
            self.counts[name] = self.counts.get(name, 0) + count


def missing_lines(counts: Mapping[str, int]) -> list[str]:
    """The line about values that were read as missing, by table and column; none where there are none."""
    said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return [f"values read as missing: {said}"] if said else []
