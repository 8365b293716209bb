"""The source of logs in Parquet or CSV. The config names the columns and declares the features."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.casts import INTERACTION_CASTS, Conventions, check_head, interaction_columns
from data.sources.entities import entity_table
from data.sources.files import Delimited, delimited_blocks, delimited_names, files_at, parquet_blocks, parquet_footer
from data.sources.schema import DataError, Feature
from data.sources.source import RawLog, SourceConfig, raw_block, read_in_parts, source
from data.sources.values.missing import SPELLINGS, MissingText
from data.sources.values.times import NO_CLOCK, TimeUnit

POSITIONS_PER_FILE = 1 << 40
"""Positions reserved for the rows of each text file, whose number of rows is not known before it is read."""


class TableFormat(Enum):
    """The format of all files of a log."""

    parquet = "parquet"
    csv = "csv"


@dataclass(kw_only=True, slots=True)
class Columns:
    """The names that the log has for the canonical columns.

    Attributes:
        user_id: the user, in the tables of interactions and of users.
        item_id: the item, in the tables of interactions and of items.
        time: numbers in data.source.time_unit, timestamps, dates, or ISO-8601 text (UTC if it names no zone).
        weight: weight of an interaction, such as a rating; null means that each has weight 1.
        split: train, validation or test, for `data.split.kind=given`.
        title: the title, in the table of items.
        context: context features of an interaction, such as a channel or a part of the day, with one value each.
            Requests may have them too, and the re-ranker learns from them.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    time: str | None = "time"
    weight: str | None = None
    split: str | None = None
    title: str | None = None
    context: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.time is None:
            raise ConfigError(f"data.source.columns.time: null; {NO_CLOCK}")
        if len(set(self.context)) < len(self.context):
            raise ConfigError(f"data.source.columns.context: {self.context} must be distinct")

    def of_interactions(self) -> dict[str, str]:
        """The log's name for each canonical column of interactions that it has, user_id first."""
        named = {name: getattr(self, name) for name in INTERACTION_CASTS}
        return {name: column for name, column in named.items() if column is not None}


@source("table")
@dataclass(kw_only=True, slots=True)
class TableSource(SourceConfig):
    """Tables of interactions, users and items, each one file or a folder of files, which are read in parallel.

    Attributes:
        format: the format of all files. The first line of a CSV file names its columns.
        interactions: file or folder of the interactions.
        users: file or folder of the users; null if there is none.
        items: file or folder of the items; null if there is none.
        columns: the names that the log has for its columns.
        user_features: the features in the table of users; each is named like its column.
        item_features: the features in the table of items; each is named like its column.
        multi_separator: the text between the values of a list that is stored as text.
        delimiter, encoding: the character between the columns of CSV files, and their encoding.
        missing: text that stands for a missing value, besides blank text.
        time_unit: what a number in the column of times counts since 1970: s, ms, us, ns or days.
    """

    format: TableFormat
    interactions: str
    users: str | None = None
    items: str | None = None
    columns: Columns = field(default_factory=Columns)
    user_features: list[Feature] = field(default_factory=list)
    item_features: list[Feature] = field(default_factory=list)
    multi_separator: str = "|"
    delimiter: str = ","
    encoding: str = "utf-8"
    missing: list[str] = field(default_factory=lambda: list(SPELLINGS))
    time_unit: TimeUnit = TimeUnit.s

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.multi_separator:
            raise ConfigError("data.source: delimiter must be one character, multi_separator at least one")
        for side, table, features in (
            ("user", self.users, self.user_features),
            ("item", self.items, self.item_features),
        ):
            names = [feature.name for feature in features]
            if names and table is None:
                raise ConfigError(f"data.source.{side}_features: {names} need a table: set data.source.{side}s")
            if len(set(names)) < len(names):
                raise ConfigError(f"data.source.{side}_features: {names} must be distinct")

    def read(self) -> RawLog:
        names, context = self.columns.of_interactions(), tuple(self.columns.context)
        conventions = Conventions(tuple(self.missing), self.time_unit)
        columns = list(dict.fromkeys([*names.values(), *context]))
        pieces = self._pieces(self.interactions, "interactions", columns)
        for piece in self._heads(pieces):
            check_head(piece.blocks(columns), names, str(piece.file), context, conventions)
        missing = MissingText(conventions.missing)
        users = self._entities(self.users, "user", self.user_features, missing) if self.users else None
        items = self._entities(self.items, "item", self.item_features, missing) if self.items else None
        return RawLog(
            read_in_parts([partial(_raw_blocks, piece, columns, names, context, conventions) for piece in pieces]),
            users,
            items,
            tuple(self.user_features),
            tuple(self.item_features),
            self.interactions,
            context,
            missing.counts,
        )

    def files(self) -> list[str]:
        tables = {"interactions": self.interactions, "users": self.users, "items": self.items}
        return [
            str(file)
            for name, uri in tables.items()
            if uri is not None
            for file in files_at(uri, f"data.source.{name}")
        ]

    def item_rows(self) -> pa.Table:
        """The table of items alone; `items` must be set.

        Raises:
            DataError: a file or a column is missing, or its values are not of their kinds.
        """
        assert self.items is not None, "the caller sets `items`"
        return self._entities(self.items, "item", self.item_features, MissingText(tuple(self.missing)))

    def _heads(self, pieces: "Sequence[_Piece]") -> "Iterable[_Piece]":
        """The first piece of each Parquet file, whose types may differ; of CSV files, the first piece alone."""
        if self.format is TableFormat.csv:
            return pieces[:1]
        return {str(piece.file): piece for piece in reversed(pieces)}.values()

    def _entities(self, uri: str, side: str, features: Sequence[Feature], missing: MissingText) -> pa.Table:
        """The canonical table of a side, "user" or "item"; `missing` counts values that are spelled as text."""
        id_column = f"{side}_id"
        names = {id_column: getattr(self.columns, id_column)}
        if side == "item" and self.columns.title:
            names["title"] = self.columns.title
        names |= {feature.name: feature.name for feature in features}
        columns = list(dict.fromkeys(names.values()))
        blocks = [block for piece in self._pieces(uri, f"{side}s", columns) for block in piece.blocks(columns)]
        if not blocks:
            raise DataError(
                f"{uri}: there are no {side}s in it; leave data.source.{side}s out if there is no such table"
            )
        try:
            raw = pa.concat_tables(blocks, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as e:
            raise DataError(f"{uri}: its files have a column in types that do not go together ({e})") from e
        return entity_table(
            pa.table({name: raw[column] for name, column in names.items()}),
            id_column,
            features,
            uri,
            self.multi_separator,
            missing,
        )

    def _pieces(self, uri: str, setting: str, columns: Sequence[str]) -> "list[_Piece]":
        """The pieces of a table, in order.

        Raises:
            DataError: there is no such file, or one lacks a column.
        """
        layout = Delimited(delimiter=self.delimiter, encoding=self.encoding)
        pieces: list[_Piece] = []
        position = 0
        for number, file in enumerate(files_at(uri, f"data.source.{setting}")):
            if self.format is TableFormat.csv:
                _require(columns, delimited_names(file, layout), file)
                pieces.append(_Piece(file, number * POSITIONS_PER_FILE, layout))
                continue
            footer = parquet_footer(file)
            _require(columns, footer.schema.to_arrow_schema().names, file)
            for group in range(footer.num_row_groups):
                pieces.append(_Piece(file, position, group))
                position += footer.row_group(group).num_rows
        return pieces


def has_column(source: TableSource, uri: str, name: str) -> bool:
    """Whether the first file of a table has a column of this name."""
    file = files_at(uri, "table")[0]
    if source.format is TableFormat.csv:
        return name in delimited_names(file, Delimited(delimiter=source.delimiter, encoding=source.encoding))
    return name in parquet_footer(file).schema.to_arrow_schema().names


@dataclass(frozen=True, slots=True)
class _Piece:
    """The part of a table that one task reads.

    Attributes:
        file: the file that it is a part of, or all of.
        first_position: index of its first row among all rows of the table.
        at: the layout of a whole text file, or the number of a row group of a Parquet file.
    """

    file: Folder
    first_position: int
    at: Delimited | int

    def blocks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yields the piece in blocks that have these columns."""
        if isinstance(self.at, int):
            return parquet_blocks(self.file, self.at, columns)
        return delimited_blocks(self.file, self.at, columns)


def _raw_blocks(
    piece: _Piece, columns: Sequence[str], names: dict[str, str], context: Sequence[str], conventions: Conventions
) -> Iterator[pa.Table]:
    position = piece.first_position
    for block in piece.blocks(columns):
        yield raw_block(**interaction_columns(block, names, context, conventions), first_position=position)
        position += block.num_rows


def _require(columns: Sequence[str], present: Sequence[str], file: Folder) -> None:
    """Raises DataError if a file lacks one of the columns."""
    missing = [column for column in columns if column not in present]
    if missing:
        raise DataError(
            f"{file}: no column {', '.join(map(repr, missing))}; there are {', '.join(map(repr, present))}: "
            "name them in data.source.columns or in the features"
        )
