"""The pieces of a table of one or many files, which tasks read one by one, and the place of each row in them."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa

from data.artifacts.folders import Folder
from data.sources.files import files_at, folder_values
from data.sources.schema import DataError
from data.sources.tabular.delimited import Head, Tell, delimited_blocks, delimited_head
from data.sources.tabular.parquet import parquet_blocks, parquet_footer
from data.sources.tabular.strict import MAX_SHOWN, line_of
from data.sources.tabular.text_stream import Delimited

POSITIONS_PER_FILE = 1 << 40
"""Positions reserved for the rows of each text file, whose number of rows is not known before it is read."""


DELIMITERS = (";", "\t", "|", ",")
"""What usually stands between columns."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a table that one task reads.

    Attributes:
        file: the file that it is a part of, or all of.
        start: position of the file's first row among all rows of the table.
        first_position: position of its own first row.
        at: the layout of a whole text file, or the number of a row group of a Parquet file.
        own: the names of the file's columns.
        given: the columns that the names of its folders give, such as dt of `dt=2024-01-01`. A column of the file of
            the same name goes before.
        texts: the columns whose values may have several lines.
    """

    file: Folder
    start: int
    first_position: int
    at: Delimited | int
    own: tuple[str, ...]
    given: dict[str, str | None] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """The names of all columns that can be read."""
        return frozenset(self.own) | self.given.keys()

    def blocks(self, columns: Sequence[str], tell: Tell | None = None) -> Iterator[pa.Table]:
        """Yields the piece in blocks that have these columns.

        Args:
            tell: is told of rows of several lines, see `delimited_blocks`.

        Raises:
            DataError: it cannot be read, or its rows are not what they should be.
        """
        read = [name for name in columns if name in self.own] or list(self.own[:1])
        if isinstance(self.at, int):
            blocks = parquet_blocks(self.file, self.at, read)
        else:
            blocks = delimited_blocks(self.file, self.at, read, self.texts, tell)
        for block in blocks:
            for name in columns:
                if name not in self.own:
                    block = block.append_column(name, _constant(self.given[name], len(block)))
            yield block


def _constant(value: str | None, length: int) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(length, pa.string()) if value is None else pa.repeat(value, length)])


def pieces_of(
    uri: str, setting: str, columns: Sequence[str], layout: Delimited | None, texts: Collection[str] = ()
) -> list[Piece]:
    """The pieces of the table at `uri`, in order. Files without rows have none.

    Args:
        setting: the config key that holds the URI, for messages.
        columns: the columns that will be read.
        layout: of its text files; None if they are Parquet.
        texts: the columns whose values may have several lines.

    Raises:
        DataError: there is no such file, or one cannot be read or lacks a column. A text file
            without rows may lack all columns but one.
    """
    pieces: list[Piece] = []
    position = 0
    for number, file in enumerate(files_at(uri, setting)):
        given = folder_values(file)
        if layout is not None:
            head, start = delimited_head(file, layout), number * POSITIONS_PER_FILE
            if head.has_rows:
                _require(columns, head.names, given, file, setting, layout)
                pieces.append(Piece(file, start, start, layout, head.names, given, frozenset(texts)))
            else:
                _refuse_row_for_names(columns, head, given, file, setting)
        elif (footer := parquet_footer(file)) is not None and footer.num_rows:
            own, start = tuple(footer.schema.to_arrow_schema().names), position
            _require(columns, own, given, file, setting)
            for group in range(footer.num_row_groups):
                pieces.append(Piece(file, start, position, group, own, given))
                position += footer.row_group(group).num_rows
    return pieces


def heads_of(pieces: Sequence[Piece]) -> list[Piece]:
    """The first piece of each Parquet file, whose types may differ; of text files, the first piece alone."""
    by_file = list({str(piece.file): piece for piece in reversed(pieces)}.values())[::-1]
    return [piece for number, piece in enumerate(by_file) if number == 0 or isinstance(piece.at, int)]


def by_file(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces of each file."""
    return [list(group) for _, group in itertools.groupby(pieces, key=lambda piece: piece.start)]


def place_of(pieces: Sequence[Piece], position: int) -> str:
    """File and row (of a text file, the line too) of the row at a position of the table; they count from 1."""
    piece = max((piece for piece in pieces if piece.start <= position), key=lambda piece: piece.start)
    row = position - piece.start + 1
    line = None
    if not isinstance(piece.at, int):
        with suppress(DataError):  # a later row cannot be read
            line = line_of(piece.file, piece.at, row)
    return f"{piece.file}, row {row}" + ("" if line is None else f" (line {line})")


def place_in(pieces: Sequence[Piece], row: int) -> str:
    """File and row (of a text file, the line too) of a row of one file, whose pieces these are.

    Args:
        row: the number of the row in the file, which counts from 0.
    """
    return place_of(pieces, pieces[0].start + row)


def _refuse_row_for_names(
    columns: Sequence[str], head: Head, given: Collection[str], file: Folder, setting: str
) -> None:
    """Raises DataError if the only line of a file names none of the columns, so that it may be a row."""
    due = [column for column in columns if column not in given]
    if due and any(name.strip() for name in head.names) and not set(due) & set(head.names):
        line, missing = ",".join(head.names)[:MAX_SHOWN], ", ".join(map(repr, due))
        raise DataError(
            f"{file}: its only line ({line!r}) names none of the columns of {setting} ({missing}): if it is a row, put"
            " a line with the names of the columns before it; if it names other columns, remove the file"
        )


def _require(
    columns: Sequence[str],
    own: Sequence[str],
    given: Collection[str],
    file: Folder,
    setting: str,
    layout: Delimited | None = None,
) -> None:
    """Raises DataError if a file lacks one of the columns, or has it twice."""
    missing = [column for column in columns if column not in own and column not in given]
    if missing:
        folders = f"; its folders give {', '.join(map(repr, given))}" if given else ""
        is_log = setting.startswith("data.source.")
        cure = "name them in data.source.columns or in the features" if is_log else f"rename it for {setting}"
        cure = (_other_layout(own, layout, is_log) if layout is not None else None) or cure
        raise DataError(
            f"{file}: no column {', '.join(map(repr, missing))}; there are {', '.join(map(repr, own))}{folders}: {cure}"
        )
    twice = [column for column in columns if list(own).count(column) > 1]
    if twice:
        raise DataError(f"{file}: it has column {twice[0]!r} more than once: rename one")


def _other_layout(names: Sequence[str], layout: Delimited, is_log: bool) -> str | None:
    """The cure where the names of a text file's columns say that it has another layout; None if they do not."""
    if any("\0" in name for name in names):
        order = "be" if names[0].startswith("\0") else "le"
        other = f"set data.source.encoding=utf-16-{order}" if is_log else f"save it as {layout.encoding}"
        return f"it has NUL characters, as UTF-16 has many, so {other}"
    between = next((one for one in DELIMITERS if one in names[0]), None) if len(names) == 1 else None
    if between is None or between == layout.delimiter:
        return None
    shown = "\\t" if between == "\t" else between
    other = f"""set 'data.source.delimiter="{shown}"'""" if is_log else f"write it with {layout.delimiter!r} there"
    return f"columns seem to be separated by {between!r}, so {other}"
