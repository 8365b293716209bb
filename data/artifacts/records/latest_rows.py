"""The latest of many rows, of which only a part is in memory at a time."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc


def latest(schema: pa.Schema, tables: Iterable[pa.Table], at_most: int | None = None) -> pa.Table:
    """The rows of tables, or the latest ones alone, by their column `time` and in its order.

    Args:
        schema: that of all tables.
        at_most: how many; None means all. Twice as many and those of one table are in memory at a time.
    """
    if at_most is None:
        return pa.concat_tables([schema.empty_table(), *tables])
    held, num_rows = [schema.empty_table()], 0
    for table in tables:
        held.append(table)
        num_rows += len(table)
        if num_rows > 2 * at_most:
            held, num_rows = [_cut(held, at_most)], at_most
    return _cut(held, at_most)


def _cut(tables: Sequence[pa.Table], at_most: int) -> pa.Table:
    table = pa.concat_tables(tables)
    return table.take(pc.sort_indices(table, [("time", "ascending")])[-at_most:])
