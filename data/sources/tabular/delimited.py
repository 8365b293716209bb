"""Text files with columns, such as CSV, as blocks of Arrow columns."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
from pyarrow import csv

from data.artifacts.folders import Folder
from data.sources.files import compression_of
from data.sources.schema import DataError
from data.sources.tabular.encodings import undecodable
from data.sources.tabular.strict import StrictRead, strict_read
from data.sources.tabular.text_stream import Delimited, TextStream

BLOCK_BYTES = 8 << 20
"""Size of the blocks that a text file is read in."""

HEADER_BYTES = 1 << 16
"""Number of bytes of a text file that are read for the names of its columns."""

Tell: TypeAlias = Callable[[Folder, StrictRead], None]
"""Is told what a strict re-read has found in a sound file."""


@dataclass(frozen=True, slots=True)
class Head:
    """The begin of a text file.

    Attributes:
        names: the names of its columns, in the file's order; none if the file is empty.
        has_rows: whether it has rows, or lines that should be rows.
    """

    names: tuple[str, ...]
    has_rows: bool


def delimited_head(file: Folder, layout: Delimited) -> Head:
    """The names of a text file's columns, from the layout or from the file's first line, and whether rows follow.

    Raises:
        DataError: the file cannot be read in this layout.
    """
    try:
        try:
            return _head(file, layout, HEADER_BYTES)
        except pa.ArrowInvalid:  # a row may be larger
            return _head(file, layout, BLOCK_BYTES)
    except (pa.ArrowInvalid, UnicodeError, OSError) as e:
        raise _unreadable(file, layout, (), (), e) from e


def _head(file: Folder, layout: Delimited, block_bytes: int) -> Head:
    misfits: list[str] = []

    def keep(row: csv.InvalidRow) -> str:
        misfits.append(row.text)
        return "skip"

    stream = TextStream(file, layout, is_lenient=True)  # a row that is told to `keep` must be UTF-8
    try:
        with csv.open_csv(_source(stream), *_options(layout, (), keep, block_bytes)) as reader:
            names = tuple(reader.schema.names)
            has_rows = any(batch.num_rows for batch in reader) or bool(misfits)
    except pa.ArrowInvalid as e:
        if not _is_empty(e, stream):
            raise
        return Head(layout.names or (), False)
    if any("\ufffd" in name for name in names) and (cause := undecodable(file, layout)):
        raise DataError(f"{file}: {cause}")
    hides_rows = stream.num_quotes % 2 == 1 or any("\n" in name or "\r" in name for name in names)
    return Head(names, has_rows or hides_rows)


def _is_empty(error: Exception, stream: TextStream) -> bool:
    """Whether pyarrow's error says that there is nothing in the file; it also says so of one quote up to the end."""
    return "Empty CSV file" in str(error) and not stream.num_lines


def delimited_blocks(
    file: Folder, layout: Delimited, columns: Sequence[str], texts: Collection[str] = (), tell: Tell | None = None
) -> Iterator[pa.Table]:
    """Yields these columns of a text file as strings, with null for empty values.

    Args:
        texts: the columns whose values may have several lines.
        tell: is called where the file was read twice because it has rows of several lines.

    Raises:
        DataError: the file cannot be read in this layout, or a row has a wrong number of values, holds a line break
            where there should be none, or seems to hide other rows between its quotes; or a value holds a quote or an
            escape that is not what it seems. It may be raised after blocks.
    """
    num_rows = 0
    stream = TextStream(file, layout)
    try:
        # A row with a wrong number of values is an error here: pyarrow could tell no one of a row that is not UTF-8.
        with csv.open_csv(_source(stream), *_options(layout, columns, None, BLOCK_BYTES)) as reader:
            for batch in reader:
                num_rows += batch.num_rows
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, UnicodeError, OSError) as e:
        if _is_empty(e, stream):  # the survey reports an empty log
            return
        raise _unreadable(file, layout, columns, texts, e, stream.has_backslash_quote) from e
    is_one_line_each = stream.num_lines == num_rows + (0 if layout.names else 1)
    is_clear = stream.num_quotes % 2 == 0 and not stream.has_doubtful_quote and not stream.has_odd_escape
    if not (is_one_line_each and is_clear):
        found = strict_read(file, layout, columns, texts)
        if fault := _fault(file, found, num_rows, layout, stream.has_backslash_quote):
            raise DataError(f"{file}: {fault}")
        if tell is not None and found.num_multi_line:
            tell(file, found)


def _source(stream: TextStream) -> pa.PythonFile:
    return pa.PythonFile(stream, mode="r")


def _fault(file: Folder, found: StrictRead, num_rows: int, layout: Delimited, has_backslash_quote: bool) -> str | None:
    """What is wrong with a file's rows, in words; None if nothing is.

    Args:
        num_rows: the number of rows that pyarrow read.
    """
    closed = "close or remove the quote there"
    if hiding := found.hiding:
        return (
            f"{len(hiding)} rows have quotes around other rows, first the one that begins in line {hiding[0]}: {closed}"
        )
    if found.broken is not None:
        line, column = found.broken
        return (
            f"column {column!r} holds a line break in {found.num_broken} of {found.num_rows} rows, first in the one "
            f"that begins in line {line}: {closed}, or remove the line break"
        )
    if found.spaced is not None:
        line, column, text = found.spaced
        unquoted = ", or set data.source.quote=null if quotes are text in this file" if layout.has_settings else ""
        return (
            f"column {column!r} has white space before a quote in {found.num_spaced} of {found.num_rows} rows, first in"
            f" the one that begins in line {line} ({text!r}), so that the quote would belong to the value: remove the"
            f" white space{unquoted}"
        )
    if found.odd is not None:
        line, column, text = found.odd
        none = ", or set data.source.escape=null if it escapes nothing" if layout.has_settings else ""
        return (
            f"column {column!r} has {layout.escape!r} before a character that needs no escape in {found.num_odd} of"
            f" {found.num_rows} rows, first in the one that begins in line {line} ({text!r}): write what is meant, such"
            f" as a line break between quotes, and double a {layout.escape!r} that belongs to the value{none}"
        )
    if found.misfit is not None:
        line, num_values, text = found.misfit
        if found.has_wrong_byte and (cause := undecodable(file, layout)):
            return cause
        escape = ". If a backslash escapes quotes, set data.source.escape='\\'" if has_backslash_quote else ""
        return (
            f"{found.num_misfits} rows do not have {found.num_columns} columns, first the one in line {line}, which "
            f"has {num_values} ({text!r}): correct or remove them{escape}"
        )
    if found.num_rows != num_rows:
        return f"{num_rows} rows were read, but it has {found.num_rows}: if it was changed meanwhile, prepare it anew"
    return None


def _unreadable(
    file: Folder,
    layout: Delimited,
    columns: Sequence[str],
    texts: Collection[str],
    error: Exception,
    has_backslash_quote: bool = False,
) -> DataError:
    """The error that says why pyarrow cannot read a file."""
    if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
        if cause := undecodable(file, layout):
            return DataError(f"{file}: {cause}")
    elif isinstance(error, pa.ArrowInvalid):
        try:
            found = strict_read(file, layout, columns, texts)
        except (DataError, UnicodeError) as e:
            return e if isinstance(e, DataError) else _unreadable(file, layout, columns, texts, e)
        if fault := _fault(file, found, found.num_rows, layout, has_backslash_quote):
            return DataError(f"{file}: {fault}")
    elif kind := compression_of(file.name):
        return DataError(f"{file}: cannot be read ({error}); is it whole, and compressed by {kind} as its name says?")
    return DataError(f"{file}: not readable as columns separated by {layout.delimiter!r} ({error})")


def _options(
    layout: Delimited, columns: Sequence[str], on_misfit: object, block_bytes: int
) -> tuple[csv.ReadOptions, csv.ParseOptions, csv.ConvertOptions]:
    return (
        csv.ReadOptions(block_size=block_bytes, column_names=layout.names),
        csv.ParseOptions(
            delimiter=layout.delimiter,
            quote_char=layout.quote or False,
            escape_char=layout.escape or False,
            newlines_in_values=layout.quote is not None or layout.escape is not None,
            invalid_row_handler=on_misfit,
        ),
        csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
