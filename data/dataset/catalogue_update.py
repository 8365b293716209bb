"""Update of a catalogue by items that are new or changed. Known items keep their rows; new ones get the next rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.catalogue import Catalogue
from data.dataset.coverage import look_alike_notes
from data.dataset.vocabulary import UNKNOWN_ROW, value_lists
from data.sources.entities import check_lengths
from data.sources.values.columns import in_one, whole
from data.sources.values.ids import undecorated

SEPARATOR = "\x1f"


@dataclass(frozen=True)
class CatalogueUpdate:
    """A catalogue after an update, and what the update changed.

    Attributes:
        items: the new catalogue. It has the vocabularies of the old one, so feature values that those lack are unknown
            to the towers, as are values that only items without training data had when the model was fitted.
        added: string [...], ids of the items that the old catalogue lacked.
        changed: string [...], ids of the items whose title or features are no longer the same.
    """

    items: Catalogue
    added: pa.ChunkedArray
    changed: pa.ChunkedArray


def updated(items: Catalogue, rows: pa.Table) -> CatalogueUpdate:
    """The catalogue with these items added, or changed if it has them already.

    Args:
        items: the items of a dataset or of a release.
        rows: a table as `data.sources.entities.entity_table` makes it. If a title is null, a known item keeps its own,
            and a new one gets its id as title.

    Raises:
        DataError: a vector has another length than those of the catalogue.
    """
    before, at = items.table.combine_chunks(), items.ids.rows(rows["item_id"])
    names = ["item_id", "title", *(feature.name for feature in items.features)]
    rows = pa.table({name: whole(rows[name]) for name in names})
    check_lengths(rows, "item_id", items.features, "rows", items.vector_lengths)
    titles = before["title"].take(pa.array(at - 1, mask=at == 0))
    rows = rows.set_column(1, "title", pc.coalesce(rows["title"], titles, rows["item_id"]))
    known, new = np.flatnonzero(at), np.flatnonzero(at == 0)
    described = before.select(rows.column_names)
    changed = known[_differs(described.take(at[known] - 1), rows.take(known))]

    source_rows = np.arange(before.num_rows)  # of each item: its row in the old table, or behind it in the new rows
    source_rows[at[changed] - 1] = before.num_rows + changed
    source_rows = np.concatenate([source_rows, before.num_rows + new])
    both = {name: whole(described[name], rows[name]).take(pa.array(source_rows)) for name in rows.column_names}
    table = pa.table(both | {"row": pa.array(np.arange(1, len(source_rows) + 1), before["row"].type)})
    for name in [name for name in before.column_names if name not in table.column_names]:  # numbers of interactions
        counts = np.concatenate([before[name].to_numpy(), np.zeros(len(new), np.int64)])
        table = table.append_column(name, pa.array(counts, before[name].type))
    table = table.select(before.column_names)
    ids = rows["item_id"]
    return CatalogueUpdate(items.with_table(table), ids.take(pa.array(new)), ids.take(pa.array(changed)))


def _differs(before: pa.Table, after: pa.Table) -> np.ndarray:
    """bool [rows]: whether any column holds another value than before."""
    found = np.zeros(before.num_rows, dtype=bool)
    for name in before.column_names:
        same = pc.equal(_comparable(before[name]), _comparable(after[name]))
        found |= ~same.to_numpy()
    return found


def _comparable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """One string per row: equal values give equal strings. Null equals null and, among lists, the empty list."""
    if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
        column = column.cast(pa.list_(pa.string()))
    if pa.types.is_list(column.type):
        separator = pa.scalar(SEPARATOR, column.type.value_type)
        return pc.binary_join(pc.fill_null(column, pa.scalar([], column.type)), separator)
    return pc.fill_null(column if pa.types.is_large_string(column.type) else column.cast(pa.string()), SEPARATOR)


def notes_on(before: Catalogue, change: CatalogueUpdate, rows: pa.Table) -> list[str]:
    """A sentence each on ids of a file that are written in several ways, and on values that the model does not know.

    Args:
        before: the catalogue with the vocabularies of the model.
        change: what `updated` made of it.
        rows: those of the file.
    """
    described = in_one(change.added, change.changed).cast(pa.large_string())
    is_described = pc.is_in(rows["item_id"].cast(pa.large_string()), value_set=described)
    look_alikes = look_alike_notes("items", rows["item_id"].combine_chunks().unique())
    return [*look_alikes, *_unknown_value_notes(before, rows.filter(is_described))]


def _unknown_value_notes(items: Catalogue, rows: pa.Table) -> list[str]:
    """A sentence for each feature of which some rows have values that the model does not know.

    They may be new, or written otherwise than in its log: a boolean of Parquet is "true", and CSV may have "True".
    Features of free text are left out, whose new words are usual.
    """
    notes = []
    for feature in items.features:
        known = items.vocabularies.get(feature.name)
        if known is None or not feature.kind.is_filterable:
            continue
        values = pc.unique(value_lists(whole(rows[feature.name]), feature).flatten()).drop_null()
        values = values.filter(pc.not_equal(values, "")).cast(known.values.type)
        unknown = values.filter(pa.array(known.rows(values) == UNKNOWN_ROW))
        if not len(unknown):
            continue
        twins = pc.index_in(_spelled_alike(unknown), value_set=_spelled_alike(known.values))
        at = max(pc.index(pc.is_valid(twins), True).as_py(), 0)
        twin = f", where it knows {known.values[twins[at].as_py()].as_py()!r}" if twins[at].is_valid else ""
        notes.append(
            f"feature {feature.name!r}: the model does not know {len(unknown):,} of {len(values):,} values, such as"
            f" {unknown[at].as_py()!r}{twin}: they count as unknown; write those that it knows as its log does"
        )
    return notes


def _spelled_alike(values: pa.Array) -> pa.Array:
    """The values in lower case, without leading zeros and ".0", by which two spellings of one value are alike."""
    return undecorated(pc.utf8_lower(values)).cast(pa.large_string())
