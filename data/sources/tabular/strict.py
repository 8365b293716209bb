"""A strict re-read of a delimited text file with the csv module, used when pyarrow's result is doubtful.

It is doubtful where a row may span several lines, or a quote is in an odd place: pyarrow takes a quote that is never
closed for one value up to the end of the file.
"""

import csv
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter, methodcaller

from data.artifacts.folders import Folder
from data.sources.schema import DataError
from data.sources.tabular.escapes import NO_NULL, ODD_ESCAPE
from data.sources.tabular.hidden_rows import CERTAIN, num_hidden_rows
from data.sources.tabular.text_stream import Delimited, TextStream

MAX_VALUE = 8 << 20
"""Largest number of characters in a value, as many as pyarrow's reader takes at a time."""

MAX_SHOWN = 80
"""Number of characters of a row that a message shows."""

LIST = re.compile(r"\s*\[[^\[\]]*\]\s*")
"""A list in brackets; if its quotes hid rows with lists of their own, it would hold their brackets."""

NO_UTF_8 = re.compile("[\udc80-\udcff]")
"""What a byte that is not UTF-8 is read as."""


@dataclass(slots=True)
class StrictRead:
    """What a strict re-read has found in a file.

    Attributes:
        num_columns: number of columns.
        num_rows: number of rows with as many values as there are columns.
        num_misfits: number of the other rows.
        misfit: line, number of values and text of the first of them.
        has_wrong_byte: whether one of them holds a byte that is not UTF-8.
        num_broken: number of rows with a line break inside a value that can have none.
        broken: line and column of the first of them.
        num_spaced: number of values with white space before their quote, which is then text.
        spaced: line, column and text of the first of them.
        num_odd: number of values with an escape before a character that needs none.
        odd: line, column and text of the first of them.
        swallowed: line of each row most of whose lines look like rows, so that its quotes seem to hide rows.
        suspected: line of each row that may look so by accident, being short and of two columns.
        num_multi_line: number of rows that span several lines.
        longest: line and number of lines of the longest of them.
    """

    num_columns: int = 0
    num_rows: int = 0
    num_misfits: int = 0
    misfit: tuple[int, int, str] | None = None
    has_wrong_byte: bool = False
    num_broken: int = 0
    broken: tuple[int, str] | None = None
    num_spaced: int = 0
    spaced: tuple[int, str, str] | None = None
    num_odd: int = 0
    odd: tuple[int, str, str] | None = None
    swallowed: list[int] = field(default_factory=list)
    suspected: list[int] = field(default_factory=list)
    num_multi_line: int = 0
    longest: tuple[int, int] = (0, 0)

    @property
    def hiding(self) -> list[int]:
        """Line of each row that is taken to hide others; suspected ones are if most rows of several lines are such."""
        is_usual = 2 * len(self.suspected) > self.num_multi_line
        return sorted([*self.swallowed, *self.suspected]) if is_usual else self.swallowed


def strict_read(file: Folder, layout: Delimited, read: Collection[str], texts: Collection[str]) -> StrictRead:
    """Reads a whole file strictly.

    Args:
        read: the columns that are read. Only those of them that are in `texts` may hold line breaks; so may columns
            that are not read.

    Raises:
        DataError: a quote is not closed, or text stands behind a closing quote; the message names the line.
    """
    found = StrictRead()
    all_rows = rows(file, layout)
    names = layout.names
    if names is None:
        first = next(all_rows, None)
        if first is None:
            return found
        names = tuple(name.replace(ODD_ESCAPE, layout.escape or "") for name in first[2])
        if first[1] > first[0]:
            _judge_lines(found, first, first[2], layout, None)
    found.num_columns = len(names)
    looked_at = {number: name for number, name in enumerate(names) if name in read}
    single = {number: name for number, name in looked_at.items() if name not in texts}
    for row in all_rows:
        begin, end, values = row
        if len(values) != len(names):
            found.num_misfits += 1
            found.misfit = found.misfit or (begin, len(values), _formatted(values, layout))
            found.has_wrong_byte |= any(map(NO_UTF_8.search, values))
        else:
            found.num_rows += 1
            _judge_values(found, row, looked_at, single, layout)
            if end > begin:
                _judge_lines(found, row, names, layout, single)
    return found


def rows(file: Folder, layout: Delimited) -> Iterator[tuple[int, int, list[str]]]:
    """Yields the first line, the last line (both count from 1) and the values of each row that is not empty.

    The row of the columns' names is one of them. ODD_ESCAPE stands for an escape before a character that needs none.

    Raises:
        DataError: a quote is not closed, or text stands behind a closing quote; the message names the line.
    """
    reader = csv.reader(
        _lines(TextStream(file, layout, marks_odd=True)),
        delimiter=layout.delimiter,
        quotechar=layout.quote or '"',
        quoting=csv.QUOTE_NONE if layout.quote is None else csv.QUOTE_MINIMAL,
        escapechar=layout.escape,
        strict=True,
    )
    end = 0
    with _large_values():
        try:
            for values in reader:
                begin, end = end + 1, reader.line_num
                if values:
                    yield begin, end, values
        except csv.Error as e:
            raise DataError(f"{file}: {_cause(str(e), end + 1, layout)}") from e


def line_of(file: Folder, layout: Delimited, row: int) -> int | None:
    """The line in which a row begins; both count from 1. None if the file has no such row.

    Rows that do not have as many values as the first one are not counted.
    """
    all_rows = rows(file, layout)
    num_columns = len(next(all_rows)[2]) if layout.names is None else len(layout.names)
    fitting = (begin for begin, _, values in all_rows if len(values) == num_columns)
    return next(itertools.islice(fitting, row - 1, None), None)


def _lines(stream: TextStream) -> Iterator[str]:
    """The lines with their ends; bytes that are not UTF-8 are kept as surrogates."""
    decode = methodcaller("decode", "utf-8", "surrogateescape")
    rest = b""
    while block := stream.read():
        *whole, rest = (rest + block).splitlines(keepends=True)
        if rest.endswith((b"\n", b"\r")):
            whole, rest = [*whole, rest], b""
        yield from map(decode, whole)
    if rest:
        yield decode(rest)


@contextmanager
def _large_values() -> Iterator[None]:
    before = csv.field_size_limit(MAX_VALUE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _judge_lines(
    found: StrictRead,
    row: tuple[int, int, list[str]],
    names: Sequence[str],
    layout: Delimited,
    single: dict[int, str] | None,
) -> None:
    """Notes what is wrong with a row that spans several lines; `single` is None for the row of names.

    A list in brackets may span some, as NumPy writes one of more than 75 characters.
    """
    begin, end, values = row
    several = [at for at, value in enumerate(values) if "\n" in value or "\r" in value]
    several = [at for at in several if at not in (single or ()) or not LIST.fullmatch(values[at])]
    if not several:
        return
    found.num_multi_line += 1
    found.longest = max(found.longest, (begin, end - begin + 1), key=itemgetter(1))
    broken = next((name for number, name in (single or {}).items() if number in several), None)
    if broken is not None:
        found.num_broken += 1
        found.broken = found.broken or (begin, broken)
    if num_hidden := num_hidden_rows(values, layout.delimiter, len(names), single):
        (found.swallowed if len(names) > 2 or num_hidden >= CERTAIN else found.suspected).append(begin)


def _judge_values(
    found: StrictRead,
    row: tuple[int, int, list[str]],
    looked_at: dict[int, str],
    single: Collection[int],
    layout: Delimited,
) -> None:
    """Notes the values of a row that are not what their writer meant, in the columns that are read."""
    begin, _, values = row
    for number, name in looked_at.items():
        value = values[number]
        if ODD_ESCAPE in value and NO_NULL.search(value):
            found.num_odd += 1
            found.odd = found.odd or (begin, name, _formatted([value], layout))
        if value[:1].isspace() and number in single and value.lstrip()[:1] == layout.quote:
            found.num_spaced += 1
            found.spaced = found.spaced or (begin, name, _formatted([value], layout))


def _formatted(values: Sequence[str], layout: Delimited) -> str:
    text = layout.delimiter.join(values).replace(ODD_ESCAPE, layout.escape or "")
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _cause(error: str, line: int, layout: Delimited) -> str:
    """What is wrong with the row that begins in a line, in words, with the cure."""
    unquoted = " If quotes are text in this file, set data.source.quote=null" if layout.has_settings else ""
    if "expected after" in error:
        escapes = ""
        if layout.has_settings and layout.escape is None:
            escapes = " If a backslash escapes quotes, set data.source.escape='\\'."
        return (
            f"text stands behind the closing quote of a value in the row that begins in line {line}: a quote there is "
            f"one too many, or not closed, or not doubled within its value; correct it.{escapes}{unquoted}"
        )
    if "field limit" in error:
        return (
            f"a value in the row that begins in line {line} is longer than {MAX_VALUE >> 20} MiB: if its quote is not "
            f"closed, close or remove it.{unquoted}"
        )
    if "unexpected end" in error:
        return f"a quote in the row that begins in line {line} is never closed: close or remove it.{unquoted}"
    return f"the row that begins in line {line} cannot be read ({error}): correct it"
