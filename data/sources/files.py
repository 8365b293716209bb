"""Files of a log on any filesystem, plain or compressed: finding them, and reading them as blocks of Arrow columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv, fs

from data.artifacts.folders import Folder
from data.sources.schema import DataError

BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 1 << 16
"""Size of the blocks that text files (bytes) and Parquet files (rows) are read in."""

HEADER_BYTES = 1 << 16
"""Number of bytes of a text file that are read for the names of its columns."""


@dataclass(frozen=True, slots=True)
class Delimited:
    """The layout of a text file with columns.

    Attributes:
        delimiter: the one character between columns.
        names: the names of the columns, in the file's order; None means that the file's first line has them.
        skip_lines: number of lines before the first row, or before the line of names.
        quoted: whether double quotes may enclose values.
        encoding: of the text, such as "latin-1".
    """

    delimiter: str = ","
    names: tuple[str, ...] | None = None
    skip_lines: int = 0
    quoted: bool = True
    encoding: str = "utf-8"


def located(uri: str, setting: str) -> Folder:
    """The file or folder at `uri`.

    Args:
        setting: the config key that holds the URI, for the message.

    Raises:
        DataError: there is no such file or folder.
    """
    place = Folder.of(uri)
    if place.filesystem.get_file_info(place.path).type == fs.FileType.NotFound:
        raise DataError(f"{setting}: no file or folder {place}; set it to the place of the log")
    return place


def files_at(uri: str, setting: str) -> list[Folder]:
    """The file at `uri`, or all files in the folder at `uri`, sorted by path.

    Files and folders whose names begin with "." or "_" are left out.

    Args:
        setting: the config key that holds the URI, for the message.

    Raises:
        DataError: there is no such file or folder, or the folder has no files.
    """
    place = located(uri, setting)
    if place.filesystem.get_file_info(place.path).type == fs.FileType.File:
        return [place]
    names = [name for name in place.files() if not any(part.startswith((".", "_")) for part in name.split("/"))]
    if not names:
        raise DataError(f"{setting}: the folder {place} holds no file")
    return [place / name for name in names]


def delimited_names(file: Folder, layout: Delimited) -> list[str]:
    """The names of a text file's columns, from the layout or from the file's first line.

    Raises:
        DataError: the file cannot be read in this layout.
    """
    read, *others = _options(layout)
    read.block_size = HEADER_BYTES
    try:
        with file.filesystem.open_input_stream(file.path) as stream:
            return list(csv.open_csv(stream, read, *others).schema.names)
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{file}: not readable as columns separated by {layout.delimiter!r} ({e})") from e


def delimited_blocks(file: Folder, layout: Delimited, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields these columns of a text file as strings, with null for empty values.

    Lines with a wrong number of fields become rows at the end, with null in the first column and the line's text in all
    others.

    Raises:
        DataError: the file cannot be read in this layout.
    """
    invalid_lines: list[str] = []

    def keep_aside(row: csv.InvalidRow) -> str:
        invalid_lines.append(row.text)
        return "skip"

    read, parse, convert = _options(layout, columns)
    parse.invalid_row_handler = keep_aside
    try:
        with file.filesystem.open_input_stream(file.path) as stream:
            for batch in csv.open_csv(stream, read, parse, convert):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as e:
        if "Empty CSV file" not in str(e):  # the survey reports an empty log
            raise DataError(f"{file}: not readable as columns separated by {layout.delimiter!r} ({e})") from e
    if invalid_lines:
        first, *others = columns
        nulls = pa.nulls(len(invalid_lines), pa.string())
        yield pa.table({first: nulls} | dict.fromkeys(others, pa.array(invalid_lines)))


def parquet_footer(file: Folder) -> pq.FileMetaData:
    """The metadata of a Parquet file: its columns and row groups.

    Raises:
        DataError: it is not a Parquet file.
    """
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            return pq.ParquetFile(stream).metadata
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{file}: not a Parquet file ({e})") from e


def parquet_blocks(file: Folder, row_group: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields these columns of one row group of a Parquet file, in their own types."""
    with file.filesystem.open_input_file(file.path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(BLOCK_ROWS, row_groups=[row_group], columns=list(columns)):
            yield pa.Table.from_batches([batch])


def lines(file: Folder) -> pa.Array:
    """string [num_lines]: all lines of a text file that are not empty, without the white space around them.

    The whole file is read into memory. It is decoded as latin-1 if it is not UTF-8.
    """
    with file.filesystem.open_input_stream(file.path) as stream:
        content = stream.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    split = pc.split_pattern(pa.array([text], pa.large_string()), "\n").flatten().cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(split)
    return trimmed.filter(pc.not_equal(trimmed, ""))


def split_lines(file: Folder, separator: str, names: Sequence[str]) -> pa.Table:
    """Reads a small text file without quotes as a table of strings.

    Args:
        separator: the text between two fields, which may be longer than one character.
        names: the names of all columns, in the file's order.

    Raises:
        DataError: a line has more or fewer fields than there are names.
    """
    all_lines = lines(file)
    fields = pc.split_pattern(all_lines, separator)
    is_invalid = pc.not_equal(pc.list_value_length(fields), len(names))
    if pc.any(is_invalid).as_py():
        line = all_lines[pc.index(is_invalid, True).as_py()].as_py()
        raise DataError(f"{file}: {len(names)} fields separated by {separator!r} expected in each line, not {line!r}")
    flat = pc.list_flatten(fields)
    return pa.table({name: flat.take(np.arange(i, len(flat), len(names))) for i, name in enumerate(names)})


def _options(
    layout: Delimited, columns: Sequence[str] = ()
) -> tuple[csv.ReadOptions, csv.ParseOptions, csv.ConvertOptions]:
    return (
        csv.ReadOptions(
            block_size=BLOCK_BYTES,
            column_names=layout.names,
            skip_rows=layout.skip_lines,
            encoding=layout.encoding,
        ),
        csv.ParseOptions(delimiter=layout.delimiter, quote_char='"' if layout.quoted else False),
        csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
