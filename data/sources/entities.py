"""The tables of users and items of a log: cast to their declared features and checked, in the driver's memory."""

from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.casts import Cast, checked, labels
from data.sources.schema import DataError, Feature
from data.sources.values.columns import in_one
from data.sources.values.ids import ids
from data.sources.values.limits import refuse_infinite, refuse_long_values, refuse_many_features
from data.sources.values.missing import MissingText, present


def entity_table(
    raw: pa.Table,
    id_column: str,
    features: Sequence[Feature],
    place: str,
    separator: str = "|",
    missing: MissingText | None = None,
) -> pa.Table:
    """The canonical table of users or items: the ids, the titles of items (null if missing), and the declared features.

    Args:
        raw: a table with the id column and all features, in any types, and `title` if there is one.
        id_column: "user_id" or "item_id".
        features: the declared features; each is named like its column in `raw`.
        place: the file, for error messages, which count its rows from 1.
        separator: the text between the values of a list that is stored as text.
        missing: the text that stands for missing values, besides blank text; it counts them.

    Raises:
        DataError: an id is missing or occurs twice, the values of a feature are not of its kind, infinite or too long,
            or its vectors have several lengths.
    """
    missing = missing or MissingText()
    side = id_column.removesuffix("_id") + "s"

    def read(name: str, cast: Cast) -> pa.ChunkedArray:
        values = missing.present(raw[name], f"{side}.{name}")
        owners = id_column, columns[id_column]
        return checked(cast, values, f"{place}, column {name!r}", owners=owners)

    known = present(raw[id_column], missing.spellings)  # missing ids are refused below, not counted
    columns = {id_column: checked(ids, known, f"{place}, column {id_column!r}")}
    _check_ids(raw, columns[id_column], id_column, place)
    if id_column == "item_id":
        has_title = "title" in raw.column_names
        columns["title"] = read("title", labels) if has_title else pa.nulls(len(raw), pa.string())
    if id_column == "item_id":
        refuse_many_features(features, place)
    for feature in features:
        values = read(feature.name, partial(feature.kind.cast, separator=separator))
        refuse_infinite(id_column.removesuffix("_id"), columns[id_column], values, raw[feature.name], feature, place)
        values = feature.kind.clean(values)
        if feature.kind.is_list:
            values = missing.members(values, f"{side}.{feature.name}")
        if id_column == "item_id":
            refuse_long_values(columns[id_column], values, feature, place)
        columns[feature.name] = values
    table = pa.table(columns)
    check_lengths(table, id_column, features, place)
    return table


def _check_ids(raw: pa.Table, ids: pa.ChunkedArray, id_column: str, place: str) -> None:
    """Raises DataError if an id is missing or occurs twice."""
    missing = pc.is_null(ids)
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
    counts = pc.value_counts(in_one(ids))
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        example = twice[0].as_py()
        raise DataError(
            f"{place}: {len(twice)} values of {id_column} stand in more than one row, such as {example['values']!r} "
            f"in {example['counts']}: keep one row each"
        )


def check_lengths(
    table: pa.Table,
    id_column: str,
    features: Sequence[Feature],
    place: str,
    expected: Mapping[str, int] | None = None,
) -> None:
    """Refuses vectors of a feature that have another length than most.

    Args:
        table: a canonical table, as `entity_table` makes it.
        features: its features; those without vectors are not looked at.
        place: the file or folder, for error messages.
        expected: by feature, the length that is due; without one, it is that of most vectors.

    Raises:
        DataError: there is such a vector; the message names its id.
    """
    for feature in features:
        if not feature.kind.is_vector:
            continue
        lengths = pc.list_value_length(table[feature.name])
        counts = pc.value_counts(lengths.drop_null())
        due = (expected or {}).get(feature.name)
        if due is None:
            if len(counts) <= 1:
                continue
            due = counts.field("values")[pc.index(counts.field("counts"), pc.max(counts.field("counts")))].as_py()
        others = pc.fill_null(pc.not_equal(lengths, due), False)
        if count := pc.sum(others).as_py():
            row = pc.index(others, True).as_py()
            known = "those before" if expected else "most"
            raise DataError(
                f"{place}, feature {feature.name!r}: the vector of {id_column} {table[id_column][row].as_py()!r} has"
                f" {lengths[row].as_py():,} values, and {known} have {due:,}; {count:,} differ from them: give all"
                " vectors of a feature one length"
            )
