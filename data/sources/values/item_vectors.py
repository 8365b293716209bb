"""Vectors of items from a file of their own, such as `data.embed_text` writes, as features beside those of a log."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.casts import vectors
from data.sources.schema import DataError, Feature
from data.sources.source import RawLog
from data.sources.values.ids import ids


def with_vectors(log: RawLog, uri: str) -> RawLog:
    """The log with the vectors of a Parquet file as further item features, by the names of its columns.

    Items of the log that the file lacks have none. The file's items that are not in the log's table of items count only
    if the log has no such table.

    Args:
        uri: a file with the column `item_id`, and at least one column of lists of numbers.

    Raises:
        ConfigError: the file does not exist.
        DataError: it has not these columns, or the log has a feature of the same name.
    """
    place = Folder.of(uri)
    try:
        with place.filesystem.open_input_file(place.path) as file:
            table = pq.read_table(file)
    except (FileNotFoundError, pa.ArrowInvalid) as e:
        raise ConfigError(f"data.item_vectors: {uri}: no Parquet file to read ({e})") from e
    names = [name for name in table.column_names if name != "item_id"]
    if "item_id" not in table.column_names or not names:
        raise DataError(
            f"data.item_vectors: {uri}: needs item_id and a column of vectors, and has {table.column_names}"
        )
    if taken := {feature.name for feature in log.item_features} & set(names):
        raise DataError(
            f"data.item_vectors: {uri}: the log has the feature {', '.join(sorted(taken))} itself; rename it"
        )
    keys = ids(table["item_id"])
    columns = {name: vectors(table[name], "|").combine_chunks() for name in names}
    if log.items is None:
        items = pa.table({"item_id": keys, "title": pa.nulls(len(keys), pa.string())})
        index = pa.array(np.arange(len(keys)))
    else:
        items = log.items
        index = pc.index_in(items["item_id"].combine_chunks(), value_set=keys.combine_chunks())
    for name, column in columns.items():
        items = items.append_column(name, column.take(index))
    features = tuple(Feature(name=name, kind="vector") for name in names)  # type: ignore[arg-type]
    return replace(log, items=items, item_features=(*log.item_features, *features))
