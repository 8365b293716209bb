"""The tables of users and items of a log: cast to their declared features and checked, in the driver's memory."""

from collections.abc import Sequence
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from data.sources.casts import checked, ids, labels
from data.sources.schema import DataError, Feature


def entity_table(
    raw: pa.Table, id_column: str, features: Sequence[Feature], place: str, separator: str = "|"
) -> pa.Table:
    """The canonical table of users or items: the ids, the titles of items (null if missing), and the declared features.

    Args:
        raw: a table with the id column and all features, in any types, and `title` if there is one.
        id_column: "user_id" or "item_id".
        features: the declared features; each is named like its column in `raw`.
        place: the file, for error messages, which count its rows from 1.
        separator: the text between the values of a list that is stored as text.

    Raises:
        DataError: an id is missing or occurs twice, or the values of a feature are not of its kind.
    """
    columns = {id_column: checked(ids, raw[id_column], f"{place}, column {id_column!r}")}
    _check_ids(raw, columns[id_column], id_column, place)
    if id_column == "item_id":
        columns["title"] = labels(raw["title"]) if "title" in raw.column_names else pa.nulls(len(raw), pa.string())
    for feature in features:
        cast = partial(feature.kind.cast, separator=separator)
        values = checked(cast, raw[feature.name], f"{place}, column {feature.name!r}")
        columns[feature.name] = feature.kind.clean(values)
    return pa.table(columns)


def _check_ids(raw: pa.Table, ids: pa.ChunkedArray, id_column: str, place: str) -> None:
    """Raises DataError if an id is missing or occurs twice."""
    missing = pc.fill_null(pc.equal(ids, ""), True)
    if count := pc.sum(missing).as_py():
        row = pc.index(missing, True).as_py()
        raise DataError(
            f"{place}: {id_column} is missing in {count} of {len(raw)} rows, first in row {row + 1} "
            f"({raw.slice(row, 1).to_pylist()[0]}): give each row its id, or remove it"
        )
    check_distinct(ids, id_column, place)


def check_distinct(ids: pa.ChunkedArray, id_column: str, place: str) -> None:
    """Refuses ids that occur twice.

    Args:
        place: the file or folder, for error messages.

    Raises:
        DataError: an id occurs twice.
    """
    counts = pc.value_counts(ids.combine_chunks())
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        example = twice[0].as_py()
        raise DataError(
            f"{place}: {len(twice)} values of {id_column} stand in more than one row, such as {example['values']!r} "
            f"in {example['counts']}: keep one row each"
        )
