"""What every source hands over, and the survey: one pass over a log that learns its ids and times and names its faults.

An adapter never raises in a Ray task for a bad value: it hands the value on as null (or as it is), and the survey, on
the driver, names it. A line that could not be read at all has no user_id and shows its text as item_id.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import ray
import ray.data

from data.sources.schema import RAW_INTERACTIONS, Feature

Column: TypeAlias = pa.Array | pa.ChunkedArray

Part = Callable[[], Iterable[pa.Table]]
"""Reads one piece of a log inside a Ray task; its tables have the schema RAW_INTERACTIONS."""


@dataclass(frozen=True)
class RawLog:
    """A log in canonical columns, its values not yet checked: see `survey`.

    Attributes:
        interactions: columns of schema.RAW_INTERACTIONS.
        users, items: user_id / item_id and title, and the declared features; None where the log has no such table.
        place: where the interactions come from, for messages.
        context: names of what an interaction came with, such as a channel: the values of its column `context`.
    """

    interactions: ray.data.Dataset
    users: pa.Table | None
    items: pa.Table | None
    user_features: tuple[Feature, ...] = ()
    item_features: tuple[Feature, ...] = ()
    place: str = "the log"
    context: tuple[str, ...] = ()


@dataclass(kw_only=True, slots=True)
class SourceConfig:
    """Where a log lies and how to read it: the values of an adapter."""

    def read(self) -> RawLog:
        """Opens the log; needs a running Ray. Large interactions are read as they are consumed, by Ray tasks.

        Raises:
            DataError: a file or a column is missing, or of a type that cannot be cast.
        """
        raise NotImplementedError

    def files(self) -> list[str]:
        """The input files: when they change, so does the prepared dataset."""
        raise NotImplementedError


def raw_block(
    *,
    user_id: Column,
    item_id: Column,
    time: Column,
    weight: Column | None = None,
    split: Column | None = None,
    context: Sequence[Column] = (),
    first_position: int,
) -> pa.Table:
    """A table of schema RAW_INTERACTIONS: positions count up from `first_position`; no weight means 1."""
    rows = len(user_id)
    weights = pa.array(np.ones(rows, np.float32)) if weight is None else weight.cast(pa.float32(), safe=False)
    position = pa.array(np.arange(first_position, first_position + rows, dtype=np.int64))
    splits = pa.nulls(rows, pa.string()) if split is None else split
    columns = [user_id, item_id, time, weights, position, splits, _side_by_side(context, rows)]
    return pa.Table.from_arrays(columns, schema=RAW_INTERACTIONS)


def _side_by_side(columns: Sequence[Column], rows: int) -> pa.Array:
    """list<string>: in each row a value of each column; null where there are no columns."""
    if not columns:
        return pa.nulls(rows, pa.list_(pa.string()))
    flat = pa.concat_arrays([_whole(column) for column in columns])
    by_row = np.arange(rows * len(columns)).reshape(len(columns), rows).T.ravel()
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, len(columns)), pa.int32()), flat.take(by_row))


def _whole(column: Column) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def read_in_parts(parts: Sequence[Part]) -> ray.data.Dataset:
    """A dataset of all tables that the parts yield: read when consumed, one Ray task a part, block by block."""

    def read(ticket: pa.Table) -> Iterable[pa.Table]:
        for part in ticket["part"].to_pylist():
            yield from parts[part]()

    if not parts:
        return in_blocks(RAW_INTERACTIONS.empty_table())
    tickets = [pa.table({"part": [number]}) for number in range(len(parts))]
    return ray.data.from_arrow(tickets).map_batches(read, batch_format="pyarrow", batch_size=None)


def in_blocks(table: pa.Table, rows_per_block: int = 1 << 18) -> ray.data.Dataset:
    """A dataset of a table that lies in the driver's memory."""
    starts = range(0, max(table.num_rows, 1), rows_per_block)
    return ray.data.from_arrow([table.slice(start, rows_per_block) for start in starts])
