"""Vectors of items from a file of their own, such as `data.embed_text` writes, as features beside those of a log."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.records import arrow_compute as pc
from data.sources.entities import entity_table
from data.sources.schema import DataError, Feature
from data.sources.source import RawLog
from data.sources.tabular.parquet import untyped_nulls
from data.sources.values.columns import in_one, plain
from data.sources.values.missing import MissingText, present
from data.sources.values.numbers import vectors

CURE = "every column besides item_id is taken for vectors: leave it out of the file"


@dataclass(frozen=True, slots=True)
class ItemVectors:
    """Vectors of items, read and checked like a table of items.

    Attributes:
        place: the setting and the file, for messages.
        table: item_id (distinct), title (null) and the vectors, by the names of their columns.
        features: the columns of vectors.
        missing_text: the number of values that were read as missing because of their text, see `RawLog.missing_text`.
    """

    place: str
    table: pa.Table
    features: tuple[Feature, ...]
    missing_text: dict[str, int]


def read_vectors(uri: str, taken: Collection[str] = (), spellings: Sequence[str] = ()) -> ItemVectors:
    """Reads a Parquet file with the column `item_id`, and at least one column of lists of numbers.

    Args:
        taken: the names of the log's own item features.
        spellings: the text that stands for a missing value in the log, besides blank text.

    Raises:
        ConfigError: the file does not exist, or is not Parquet.
        DataError: it has not these columns, the log has a feature of the same name, an id is missing or occurs twice,
            or a vector has a value that is not a finite number, or another length than most. A vector that is null has
            none of these faults, but a column needs one that is not.
    """
    place = f"data.item_vectors: {uri}"
    table = untyped_nulls(_read(uri, place))
    names = [name for name in table.column_names if name != "item_id"]
    if "item_id" not in table.column_names or not names or len(set(names)) < len(names):
        raise DataError(f"{place}: needs item_id and a column of vectors, each once, and has {table.column_names}")
    if own := sorted(set(taken) & set(names)):
        raise DataError(f"{place}: the log has the feature {', '.join(own)} itself; rename it")
    features = tuple(_feature(name, place) for name in names)
    for name in names:
        _refuse_other_columns(table[name], f"{place}, column {name!r}", spellings)
    missing = MissingText(tuple(spellings))
    found = entity_table(table, "item_id", features, place, missing=missing)
    return ItemVectors(place, found, features, missing.counts)


def with_vectors(log: RawLog, found: ItemVectors, ids_in_log: pa.Array) -> RawLog:
    """The log with these vectors as further item features. Items that the file lacks have none.

    The file's items that are neither in the log's interactions nor in its table of items count only if the log has no
    such table.

    Args:
        ids_in_log: the distinct ids of the items in the log's interactions.
    """
    of_file, features = found.table, (*log.item_features, *found.features)
    if log.items is None:
        return replace(log, items=of_file, item_features=features)
    known = in_one(log.items["item_id"])
    is_new = pc.and_(pc.is_in(of_file["item_id"], ids_in_log), pc.invert(pc.is_in(of_file["item_id"], known)))
    more = of_file.select(["item_id"]).filter(is_new)
    items = pa.concat_tables([log.items, more], promote_options="default") if len(more) else log.items
    index = pc.index_in(in_one(items["item_id"]), value_set=in_one(of_file["item_id"]))
    for feature in found.features:
        items = items.append_column(feature.name, of_file[feature.name].combine_chunks().take(index))
    return replace(log, items=items, item_features=features)


def _read(uri: str, place: str) -> pa.Table:
    file = Folder.of(uri)
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            return pq.read_table(stream)
    except (OSError, pa.ArrowInvalid) as e:
        raise ConfigError(f"{place}: no Parquet file to read ({e})") from e


def _feature(name: str, place: str) -> Feature:
    try:
        return Feature(name=name, kind="vector")  # type: ignore[arg-type]
    except ConfigError as e:
        reason = str(e).partition(";")[0]
        raise DataError(f"{place}: {reason}: rename the column, or leave it out of the file") from e


def _refuse_other_columns(column: pa.ChunkedArray, place: str, spellings: Sequence[str]) -> None:
    """Raises DataError if a column holds no vector at all."""
    values = present(column, spellings).drop_null()
    try:
        is_other = vectors(values, "|").null_count == len(values)
    except DataError as e:
        raise DataError(f"{place}: {e}; {CURE}") from e
    if is_other:
        example = f", such as {plain(column).drop_null()[0].as_py()!r}" if len(values) else ""
        raise DataError(f"{place}: none of {len(column):,} values is a list of finite numbers{example}; {CURE}")
