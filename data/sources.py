"""What every source hands over, and the survey: one pass over a log that learns its ids and times and names its faults.

An adapter never raises in a Ray task for a bad value: it hands the value on as null (or as it is), and the survey, on
the driver, names it. A line that could not be read at all has no user_id and shows its text as item_id.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.exceptions import RayTaskError

from data.schema import RAW_INTERACTIONS, SPLITS, DataError, Feature
from data.vocabulary import Vocabulary

Column: TypeAlias = pa.Array | pa.ChunkedArray
Part = Callable[[], Iterable[pa.Table]]
"""Reads one piece of a log inside a Ray task; its tables have the schema RAW_INTERACTIONS."""

FARTHEST_TIME = 253_402_300_799  # the year 9999 in unix seconds: beyond it are milliseconds


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


@dataclass(frozen=True)
class Survey:
    """What one pass over a sound log found.

    Attributes:
        user_ids, item_ids: distinct, sorted strings.
        times: columns `time` (distinct, sorted) and `count`, int64.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    times: pa.Table
    num_interactions: int


def survey(log: RawLog) -> Survey:
    """Passes once over the interactions.

    Raises:
        DataError: the log is empty, or has faults; each is named with its count and its first row.
    """
    seen = log.interactions.map_batches(_survey_block, batch_format="pyarrow", batch_size=None)
    try:
        tables = [table for table in ray.get(seen.to_arrow_refs()) if table.num_rows]
    except RayTaskError as e:
        cause = str(e.cause).partition("\n")[0]  # Ray adds lines of its own
        raise DataError(f"{log.place}: reading it failed: {cause}") from e
    blocks = pa.concat_tables([_survey_block(RAW_INTERACTIONS.empty_table()), *tables])
    num_interactions = pc.sum(blocks["num_interactions"]).as_py()
    if not num_interactions:
        raise DataError(f"{log.place}: there are no interactions in it")
    _refuse_faults(pc.list_flatten(blocks["faults"]).to_pylist(), num_interactions, log.place)
    counts = pa.table({name: pc.list_flatten(blocks[name]) for name in ("time", "count")})
    times = counts.group_by("time").aggregate([("count", "sum")]).rename_columns(["time", "count"]).sort_by("time")
    user_ids, item_ids = (Vocabulary.of(pc.list_flatten(blocks[name])).values for name in ("user_id", "item_id"))
    return Survey(user_ids, item_ids, times, num_interactions)


@dataclass(frozen=True, slots=True)
class _Check:
    """A fault that a value can have. `found` gives a mask, null and false meaning sound."""

    column: str
    found: Callable[[pa.ChunkedArray], pa.ChunkedArray]
    fault: str


_CHECKS = (
    _Check("user_id", lambda ids: pc.or_kleene(pc.is_null(ids), pc.equal(ids, "")), "is missing"),
    _Check("item_id", lambda ids: pc.or_kleene(pc.is_null(ids), pc.equal(ids, "")), "is missing"),
    _Check("time", pc.is_null, "is missing or cannot be read as a time"),
    _Check("time", lambda times: pc.less(times, 0), "is negative (unix seconds or an ordinal are due)"),
    _Check(
        "time",
        lambda times: pc.greater(times, FARTHEST_TIME),
        "lies past the year 9999 (seconds are due, not milliseconds)",
    ),
    _Check("weight", lambda weights: pc.invert(pc.fill_null(pc.is_finite(weights), False)), "is not a finite number"),
    _Check("split", lambda splits: pc.invert(pc.is_in(splits, pa.array([*SPLITS, None]))), f"is none of {SPLITS}"),
)


def _survey_block(block: pa.Table) -> pa.Table:
    """One row: the block's distinct values as lists, and its faults."""
    times = block.group_by("time").aggregate([([], "count_all")])
    distinct = {name: pc.unique(block[name]) for name in ("user_id", "item_id")}
    distinct |= {"time": times["time"].combine_chunks(), "count": times["count_all"].combine_chunks()}
    lists = {name: pa.ListArray.from_arrays([0, len(values)], values) for name, values in distinct.items()}
    known = block.filter(pc.is_valid(block["user_id"])) if block["user_id"].null_count else block
    faults = [*_faults(block, _CHECKS[0]), *(fault for check in _CHECKS[1:] for fault in _faults(known, check))]
    return pa.table(lists | {"num_interactions": pa.array([block.num_rows]), "faults": pa.array([faults], _FAULTS)})


_FAULTS = pa.list_(
    pa.struct([("check", pa.int64()), ("count", pa.int64()), ("position", pa.int64()), ("example", pa.string())])
)


def _faults(block: pa.Table, check: _Check) -> list[dict[str, Any]]:
    found = check.found(block[check.column])
    if not (count := pc.sum(found).as_py()):
        return []
    row = block.slice(pc.index(found, True).as_py(), 1).to_pylist()[0]
    example = ", ".join(f"{name} {row[name]!r}" for name in dict.fromkeys((check.column, "user_id", "item_id")))
    return [{"check": _CHECKS.index(check), "count": count, "position": row["position"], "example": example}]


def _refuse_faults(faults: list[dict[str, Any]], num_interactions: int, place: str) -> None:
    messages = []
    for number, check in enumerate(_CHECKS):
        same = [fault for fault in faults if fault["check"] == number]
        if same:
            first, count = min(same, key=lambda fault: fault["position"]), sum(fault["count"] for fault in same)
            where = f"first at position {first['position']} ({first['example']})"
            messages.append(f"{check.column} {check.fault} in {count} of {num_interactions} rows, {where}")
    if messages:
        raise DataError(f"{place}: {'; '.join(messages)}. Mend or remove these rows")
