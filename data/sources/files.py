"""The files of a log, on any filesystem, plain or compressed: found, opened, and read in blocks of Arrow columns."""

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
HEADER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Delimited:
    """How a text file holds its columns.

    Attributes:
        delimiter: one character.
        names: of the columns, in the file's order; None: they are in its first line.
        skip_lines: before the first row (or the line of names).
        quoted: whether double quotes enclose values.
    """

    delimiter: str = ","
    names: tuple[str, ...] | None = None
    skip_lines: int = 0
    quoted: bool = True
    encoding: str = "utf-8"


def located(uri: str, setting: str) -> Folder:
    """The file or folder at `uri`.

    Raises:
        DataError: there is none. `setting` is the config value to mend.
    """
    place = Folder.of(uri)
    if place.filesystem.get_file_info(place.path).type == fs.FileType.NotFound:
        raise DataError(f"{setting}: no file or folder {place}; give the place where the log lies")
    return place


def files_at(uri: str, setting: str) -> list[Folder]:
    """The file at `uri`, or all files of the folder there, by name; names that start with . or _ are left out."""
    place = located(uri, setting)
    if place.filesystem.get_file_info(place.path).type == fs.FileType.File:
        return [place]
    names = [name for name in place.files() if not any(part.startswith((".", "_")) for part in name.split("/"))]
    if not names:
        raise DataError(f"{setting}: the folder {place} holds no file")
    return [place / name for name in names]


def delimited_names(file: Folder, layout: Delimited) -> list[str]:
    """The column names in the first line of a file."""
    read, *others = _options(layout)
    read.block_size = HEADER_BYTES
    try:
        with file.filesystem.open_input_stream(file.path) as stream:
            return list(csv.open_csv(stream, read, *others).schema.names)
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{file}: not to be read as columns parted by {layout.delimiter!r} ({e})") from e


def delimited_blocks(file: Folder, layout: Delimited, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields the columns as strings, empty values as null.

    A line with a wrong number of fields becomes a row after all others: null first, the line in the other columns.
    """
    misfits: list[str] = []

    def set_aside(row: csv.InvalidRow) -> str:
        misfits.append(row.text)
        return "skip"

    read, parse, convert = _options(layout, columns)
    parse.invalid_row_handler = set_aside
    try:
        with file.filesystem.open_input_stream(file.path) as stream:
            for batch in csv.open_csv(stream, read, parse, convert):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError) as e:
        if "Empty CSV file" not in str(e):  # an empty log is the survey's to name
            raise DataError(f"{file}: not to be read as columns parted by {layout.delimiter!r} ({e})") from e
    if misfits:
        first, *rest = columns
        yield pa.table({first: pa.nulls(len(misfits), pa.string())} | dict.fromkeys(rest, pa.array(misfits)))


def parquet_footer(file: Folder) -> pq.FileMetaData:
    """Columns and row groups of a Parquet file."""
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            return pq.ParquetFile(stream).metadata
    except (pa.ArrowInvalid, OSError) as e:
        raise DataError(f"{file}: not a Parquet file ({e})") from e


def parquet_blocks(file: Folder, row_group: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields the columns of one row group in their own types."""
    with file.filesystem.open_input_file(file.path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(BLOCK_ROWS, row_groups=[row_group], columns=list(columns)):
            yield pa.Table.from_batches([batch])


def lines(file: Folder) -> pa.Array:
    """All lines of a text file (UTF-8 or, failing that, latin-1), trimmed, empty ones left out."""
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
    """A small text file as columns of strings, parted by a separator of any length; nothing is quoted.

    Raises:
        DataError: a line has another number of fields than there are names.
    """
    whole = lines(file)
    fields = pc.split_pattern(whole, separator)
    misfit = pc.not_equal(pc.list_value_length(fields), len(names))
    if pc.any(misfit).as_py():
        line = whole[pc.index(misfit, True).as_py()].as_py()
        raise DataError(f"{file}: {len(names)} fields parted by {separator!r} are due in each line, not {line!r}")
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
