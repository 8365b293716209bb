"""A catalogue with items added and changed: those that were there keep their rows, new ones come behind them."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.catalogue import Catalogue

BETWEEN = "\x1f"


@dataclass(frozen=True)
class Refreshed:
    """What became of a catalogue.

    Attributes:
        items: feature vocabularies are those from before: what they lack is unknown to the towers.
        added, changed: item ids.
    """

    items: Catalogue
    added: pa.ChunkedArray
    changed: pa.ChunkedArray


def refreshed(items: Catalogue, rows: pa.Table) -> Refreshed:
    """Takes rows into a catalogue; what is the same as before changes nothing.

    Args:
        rows: as `data.sources.entities.entity_table` gives them; a title that is null leaves the one from before.
    """
    before, at = items.table.combine_chunks(), items.ids.rows(rows["item_id"])
    rows = rows.select(["item_id", "title", *(feature.name for feature in items.features)]).combine_chunks()
    titles = before["title"].take(pa.array(at - 1, mask=at == 0))
    rows = rows.set_column(1, "title", pc.coalesce(rows["title"], titles, rows["item_id"]))
    known, new = np.flatnonzero(at), np.flatnonzero(at == 0)
    described = before.select(rows.column_names)
    changed = known[_differs(described.take(at[known] - 1), rows.take(known))]

    taken = np.arange(before.num_rows)
    taken[at[changed] - 1] = before.num_rows + changed
    table = pa.concat_tables([described, rows]).take(np.concatenate([taken, before.num_rows + new]))
    table = table.append_column("row", pa.array(np.arange(1, table.num_rows + 1)))
    for name in ("train_count", "validation_count"):
        counts = np.concatenate([before[name].to_numpy(), np.zeros(len(new), np.int64)])
        table = table.append_column(name, pa.array(counts))
    table = table.select(before.column_names).cast(before.schema).combine_chunks()
    ids = rows["item_id"]
    return Refreshed(replace(items, table=table), ids.take(pa.array(new)), ids.take(pa.array(changed)))


def _differs(before: pa.Table, after: pa.Table) -> np.ndarray:
    """bool [rows]: does any column hold another value?"""
    found = np.zeros(before.num_rows, dtype=bool)
    for name in before.column_names:
        same = pc.equal(_text(before[name]), _text(after[name]))
        found |= ~same.to_numpy()
    return found


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values that equal where the column's do, null and empty lists too."""
    if pa.types.is_list(column.type):
        return pc.binary_join(pc.fill_null(column, pa.scalar([], column.type)), BETWEEN)
    return pc.fill_null(column.cast(pa.string()), BETWEEN)
