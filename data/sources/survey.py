"""What every source hands over, and the survey: one pass over a log that learns its ids and times and names its faults.

An adapter never raises in a Ray task for a bad value: it hands the value on as null (or as it is), and the survey, on
the driver, names it. A line that could not be read at all has no user_id and shows its text as item_id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.exceptions import RayTaskError

from data.sources.schema import RAW_INTERACTIONS, SPLITS, DataError
from data.sources.source import RawLog

FARTHEST_TIME = 253_402_300_799  # the year 9999 in unix seconds: beyond it are milliseconds


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
    user_ids, item_ids = (_distinct(blocks[name]) for name in ("user_id", "item_id"))
    return Survey(user_ids, item_ids, times, num_interactions)


def _distinct(lists: pa.ChunkedArray) -> pa.Array:
    """The distinct values of all lists, sorted; nulls left out."""
    values = pc.unique(pc.list_flatten(lists)).drop_null()
    return values.take(pc.sort_indices(values))


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
