"""The source of logs in Parquet or CSV. The config names the columns and declares the features."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.cluster.console import ProgressReporter
from data.sources.casts import INTERACTION_CASTS, Conventions, check_head, interaction_columns
from data.sources.entities import check_distinct, check_lengths, entity_table
from data.sources.files import TableFormat as TableFormat
from data.sources.files import address, files_at
from data.sources.schema import DataError, Feature
from data.sources.source import RawLog, SourceConfig, noted, raw_block, read_in_parts, source
from data.sources.tabular.delimited import Tell
from data.sources.tabular.encodings import check_encoding
from data.sources.tabular.names_as_rows import refuse_names
from data.sources.tabular.parquet import untyped_nulls
from data.sources.tabular.pieces import Piece, by_file, heads_of, pieces_of, place_in, place_of
from data.sources.tabular.several_lines import SeveralLines
from data.sources.tabular.text_stream import Delimited
from data.sources.values.missing import SPELLINGS, MissingText
from data.sources.values.times import NO_CLOCK, TimeUnit

SPELLED = {"\\t": "\t", "\\\\": "\\", '\\"': '"', "\\'": "'"}
"""Characters of a layout by how they are typed where one cannot type them, or where they would need a backslash."""


@dataclass(kw_only=True, slots=True)
class Columns:
    """The names that the log has for the canonical columns.

    Attributes:
        user_id: the user, in the tables of interactions and of users.
        item_id: the item, in the tables of interactions and of items.
        time: numbers in data.source.time_unit, timestamps, dates, or ISO-8601 text (UTC if it names no zone).
        weight: weight of an interaction, such as a rating; null means that each has weight 1. It counts in training,
            unless `data.positive_from` says that it is a rating.
        type: type of an interaction, such as view or purchase; `data.events` says what each means.
        split: train, validation or test, for `data.split.kind=given`.
        title: the title, in the table of items.
        context: context features of an interaction, such as a channel or a part of the day, with one value each.
            Requests may have them too, and the re-ranker learns from them.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    time: str | None = "time"
    weight: str | None = None
    type: str | None = None
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
        user_features: the features in the table of users; each is named like its column, or says which it is.
        item_features: the features in the table of items, likewise.
        multi_separator: the text between the values of a list that is stored as text.
        delimiter: the character between the columns of CSV files; a tab may be written as the two characters "\\t".
        encoding: the encoding of CSV files.
        quote: the character that may enclose values in CSV files, which may then hold delimiters and line breaks;
            doubled within such a value, it stands for itself. Null if a quote is a character like any other.
        escape: the character before a quote or a delimiter that belongs to a value of a CSV file, such as a backslash;
            null if there is none.
        missing: text that stands for a missing value, besides blank text; numbers that it writes, such as -1, do too.
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
    quote: str | None = '"'
    escape: str | None = None
    missing: list[str] = field(default_factory=lambda: list(SPELLINGS))
    time_unit: TimeUnit = TimeUnit.s

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape"):
            setattr(self, name, SPELLED.get(getattr(self, name), getattr(self, name)))
        _check_layout(self.delimiter, self.quote, self.escape)
        check_encoding(self.encoding, "data.source.encoding")
        if not self.multi_separator:
            raise ConfigError("data.source.multi_separator: '' must be at least one character")
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
        for piece in heads_of(pieces):
            check_head(map(untyped_nulls, piece.blocks(columns)), names, str(piece.file), context, conventions)
        missing, of_users, of_items = MissingText(conventions.missing), SeveralLines(), SeveralLines()
        users = self._entities(self.users, "user", self.user_features, missing, of_users) if self.users else None
        items = self._entities(self.items, "item", self.item_features, missing, of_items) if self.items else None
        return RawLog(
            read_in_parts([partial(_raw_blocks, piece, columns, names, context, conventions) for piece in pieces]),
            users,
            items,
            tuple(self.user_features),
            tuple(self.item_features),
            self.interactions,
            context,
            locate=partial(place_of, pieces),
            missing_text=missing.counts,
            notes=(*of_users.notes("users"), *of_items.notes("items")),
            own_split=None if self.columns.split is None else "data.source.columns.split",
        )

    def missing_spellings(self) -> tuple[str, ...]:
        return tuple(self.missing)

    def has_weights(self) -> bool:
        return self.columns.weight is not None

    def files(self) -> list[str]:
        return [address(file) for name, uri in self.places().items() for file in files_at(uri, f"data.source.{name}")]

    def places(self) -> dict[str, str]:
        tables = {"interactions": self.interactions, "users": self.users, "items": self.items}
        return {name: uri for name, uri in tables.items() if uri is not None}

    def item_rows(self, progress: ProgressReporter = print) -> pa.Table:
        """The table of items alone; `items` must be set.

        Args:
            progress: takes a line about the values read as missing, and one about rows of several lines, if there are
                any.

        Raises:
            DataError: a file or a column is missing, or its values are not of their kinds.
        """
        assert self.items is not None, "the caller sets `items`"
        missing, of_items = MissingText(tuple(self.missing)), SeveralLines()
        rows = self._entities(self.items, "item", self.item_features, missing, of_items)
        for line in (*missing.lines(), *map(noted, of_items.notes("items"))):
            progress(line)
        return rows

    def has_column(self, uri: str, name: str) -> bool:
        """Whether the table at `uri` has a column of this name; one without rows has none."""
        pieces = self._pieces(uri, "items", ())
        return bool(pieces) and name in pieces[0].names

    def _entities(
        self, uri: str, side: str, features: Sequence[Feature], missing: MissingText, tell: Tell | None = None
    ) -> pa.Table:
        """The canonical table of a side, "user" or "item"; the values of each file are cast in their own types.

        Args:
            missing: counts the values that are spelled as text.
            tell: is told of rows of several lines.
        """
        id_column = f"{side}_id"
        names = {id_column: getattr(self.columns, id_column)}
        if side == "item" and self.columns.title:
            names["title"] = self.columns.title
        names |= {feature.name: feature.column or feature.name for feature in features}
        columns = list(dict.fromkeys(names.values()))
        texts = {names[f.name] for f in features if f.kind.is_free_text} | {names.get("title", "")}
        tables = []
        for pieces in by_file(self._pieces(uri, f"{side}s", columns, texts)):
            file = str(pieces[0].file)
            blocks = [block for piece in pieces for block in piece.blocks(columns, tell)]
            if blocks:
                whole = pa.concat_tables(blocks)
                refuse_names(whole, [c for c in columns if c in pieces[0].own], partial(place_in, pieces))
                whole = untyped_nulls(whole)
                raw = pa.table({name: whole[column] for name, column in names.items()})
                tables.append(entity_table(raw, id_column, features, file, self.multi_separator, missing))
        if not tables:
            raise DataError(
                f"{uri}: there are no {side}s in it; leave data.source.{side}s out if there is no such table"
            )
        table = pa.concat_tables(tables, promote_options="permissive")
        check_distinct(table[id_column], id_column, uri)
        check_lengths(table, id_column, features, uri)
        return table

    def _pieces(self, uri: str, setting: str, columns: Sequence[str], texts: Collection[str] = ()) -> list[Piece]:
        layout = Delimited(
            delimiter=self.delimiter, quote=self.quote, escape=self.escape, encoding=self.encoding, has_settings=True
        )
        is_text = self.format is TableFormat.csv
        return pieces_of(uri, f"data.source.{setting}", columns, layout if is_text else None, texts)


def _check_layout(delimiter: str, quote: str | None, escape: str | None) -> None:
    """Raises ConfigError unless these characters are one each, and differ."""
    for name, value in {"delimiter": delimiter, "quote": quote, "escape": escape}.items():
        if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n"):
            null = ", such as ; or \\t (a tab)" if name == "delimiter" else ", or null if there is none"
            raise ConfigError(
                f"data.source.{name}: {value!r} must be one ASCII character other than a line break{null}"
            )
    used = [value for value in (delimiter, quote, escape) if value is not None]
    if len(set(used)) < len(used):
        raise ConfigError(
            f"data.source: delimiter {delimiter!r}, quote {quote!r} and escape {escape!r} must differ; a quote that is "
            "doubled within a value needs no escape"
        )


def _raw_blocks(
    piece: Piece, columns: Sequence[str], names: dict[str, str], context: Sequence[str], conventions: Conventions
) -> Iterator[pa.Table]:
    position = piece.first_position
    for block in map(untyped_nulls, piece.blocks(columns)):
        yield raw_block(**interaction_columns(block, names, context, conventions), first_position=position)
        position += block.num_rows
