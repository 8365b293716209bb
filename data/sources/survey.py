"""The survey: one pass over a log that finds its ids, its times and its faults.

Sources deliver values that they cannot read as null (see data/sources/source.py). The survey counts such faults in Ray
tasks and names them on the driver, all in one error. What a source could not read at all is named before them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sources.schema import RAW_INTERACTIONS, SPLITS, DataError
from data.sources.source import RawLog

MAX_TIME_S = 253_402_300_799
"""The end of the year 9999 in unix seconds. Later times are probably milliseconds."""


MISSING_ID = (
    "; an id is missing where it is blank or spelled as in data.source.missing, and where a floating-point number is"
    " not whole or too large to be exact"
)


@dataclass(frozen=True)
class Survey:
    """What is in a log without faults.

    Attributes:
        user_ids: the distinct ids of users, sorted.
        item_ids: the distinct ids of items, sorted.
        times: columns `time` (distinct, sorted) and `count`, the number of interactions at that time; int64.
        num_interactions: number of the interactions that are kept. The other attributes describe these alone.
        num_left_out: number of the interactions whose weight is too low.
        user_counts: int64, the number of interactions of each of `user_ids`.
        item_counts: int64, the number of interactions of each of `item_ids`.
        missing_context: the number of interactions without a value, by context feature.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    times: pa.Table
    num_interactions: int
    num_left_out: int
    user_counts: pa.Array
    item_counts: pa.Array
    missing_context: dict[str, int]


def survey(log: RawLog, min_weight: float | None = None) -> Survey:
    """Passes once over the interactions of a log.

    Args:
        min_weight: interactions with a lower weight are left out; None keeps all. Faults are looked for in all of them.

    Raises:
        DataError: the log is empty, cannot be read, or has faults. Each fault is named with its count and first row.
    """
    import ray
    from ray.exceptions import RayTaskError

    survey_block = partial(_survey_block, min_weight=min_weight)
    seen = log.interactions.map_batches(survey_block, batch_format="pyarrow", batch_size=None)
    try:
        tables = [table for table in ray.get(seen.to_arrow_refs()) if table.num_rows]
    except RayTaskError as e:
        cause = str(e.cause).partition("\n")[0]  # the other lines are Ray's
        raise DataError(f"{log.place}: reading it failed: {cause}") from e
    blocks = pa.concat_tables([_survey_block(RAW_INTERACTIONS.empty_table()), *tables])
    num_interactions = pc.sum(blocks["num_interactions"]).as_py()
    _refuse_unreadable(blocks["unreadable"])
    if not num_interactions:
        raise DataError(f"{log.place}: there are no interactions in it")
    _refuse_faults(pc.list_flatten(blocks["faults"]).to_pylist(), num_interactions, log)
    users, items, times = (_counted(blocks, name) for name in ("user_id", "item_id", "time"))
    if not (num_kept := pc.sum(times["count"]).as_py()):
        raise DataError(f"data.min_weight: {min_weight} leaves no interaction: lower it")
    missing = np.sum([np.zeros(len(log.context)), *filter(len, blocks["missing_context"].to_pylist())], axis=0)
    return Survey(
        users["user_id"].combine_chunks(),
        items["item_id"].combine_chunks(),
        times,
        num_kept,
        num_interactions - num_kept,
        users["count"].combine_chunks(),
        items["count"].combine_chunks(),
        dict(zip(log.context, missing.astype(int).tolist(), strict=True)),
    )


def _counted(blocks: pa.Table, name: str) -> pa.Table:
    """The distinct values of a column of the log, sorted, and the `count` of each, from the lists of all blocks."""
    counts = pa.table({name: pc.list_flatten(blocks[name]), "count": pc.list_flatten(blocks[f"{name}_count"])})
    return counts.group_by(name).aggregate([("count", "sum")]).rename_columns([name, "count"]).sort_by(name)


@dataclass(frozen=True, slots=True)
class _Check:
    """A fault that a value of a column can have.

    Attributes:
        found: maps the column to a mask of its faulty values; null counts as false.
        fault: the fault in words, after the name of the column.
    """

    column: str
    found: Callable[[pa.ChunkedArray], pa.ChunkedArray]
    fault: str


_CHECKS = (
    _Check("user_id", lambda ids: pc.or_kleene(pc.is_null(ids), pc.equal(ids, "")), "is missing"),
    _Check("item_id", lambda ids: pc.or_kleene(pc.is_null(ids), pc.equal(ids, "")), "is missing"),
    _Check("time", pc.is_null, "is missing or cannot be read as a time"),
    _Check("time", lambda times: pc.less(times, 0), "is negative (expected unix seconds or a running number)"),
    _Check(
        "time",
        lambda times: pc.greater(times, MAX_TIME_S),
        "lies past the year 9999 (seconds are due, not milliseconds: set data.source.time_unit, or write digits of a"
        " date as 2019-10-01)",
    ),
    _Check("weight", lambda weights: pc.invert(pc.fill_null(pc.is_finite(weights), False)), "is not a finite number"),
    _Check("split", lambda splits: pc.invert(pc.is_in(splits, pa.array([*SPLITS, None]))), f"is none of {SPLITS}"),
)


def _survey_block(block: pa.Table, min_weight: float | None = None) -> pa.Table:
    """One row with the block's distinct values and their counts as lists, its faults, and what was unreadable."""
    unreadable = block.filter(pc.is_valid(block["fault"])).select(["position", "fault"])
    block = block.filter(pc.is_null(block["fault"])) if len(unreadable) else block
    kept = above(block, min_weight)
    distinct = {"missing_context": _missing_context(kept["context"])}
    for name in ("user_id", "item_id", "time"):
        counts = kept.group_by(name).aggregate([([], "count_all")])
        distinct |= {name: counts[name].combine_chunks(), f"{name}_count": counts["count_all"].combine_chunks()}
    lists = {name: pa.ListArray.from_arrays([0, len(values)], values) for name, values in distinct.items()}
    known = block.filter(pc.is_valid(block["user_id"])) if block["user_id"].null_count else block
    faults = [*_faults(block, _CHECKS[0]), *(fault for check in _CHECKS[1:] for fault in _faults(known, check))]
    found = {"faults": pa.array([faults], _FAULTS), "unreadable": pa.array([unreadable.to_pylist()], _UNREADABLE)}
    return pa.table(lists | {"num_interactions": pa.array([block.num_rows])} | found)


_UNREADABLE = pa.list_(pa.struct([("position", pa.int64()), ("fault", pa.string())]))
MAX_UNREADABLE = 3
"""Number of files that cannot be read of which the message says why."""


def above(block: pa.Table, min_weight: float | None) -> pa.Table:
    """The interactions of a block that are kept: those of at least this weight; None keeps all."""
    if min_weight is None:
        return block
    bound = pa.scalar(min_weight, block.schema.field("weight").type)  # rounded as the weights are: 4.1 is at least 4.1
    return block.filter(pc.greater_equal(block["weight"], bound))


def _missing_context(context: pa.ChunkedArray) -> pa.Array:
    """int64 [C]: the number of missing values of each context feature; of length 0 where there is no row."""
    known = context.drop_null()
    if not len(known):
        return pa.array([], pa.int64())
    is_missing = pc.is_null(pc.list_flatten(known)).to_numpy().reshape(len(known), -1)
    return pa.array(is_missing.sum(axis=0))


_FAULTS = pa.list_(
    pa.struct([("check", pa.int64()), ("count", pa.int64()), ("position", pa.int64()), ("example", pa.string())])
)


def _faults(block: pa.Table, check: _Check) -> list[dict[str, Any]]:
    """What a check found in a block: nothing, or one fault with its count and its first row."""
    found = check.found(block[check.column])
    if not (count := pc.sum(found).as_py()):
        return []
    row = block.slice(pc.index(found, True).as_py(), 1).to_pylist()[0]
    example = ", ".join(f"{name} {row[name]!r}" for name in dict.fromkeys((check.column, "user_id", "item_id")))
    return [{"check": _CHECKS.index(check), "count": count, "position": row["position"], "example": example}]


def _refuse_unreadable(lists: pa.ChunkedArray) -> None:
    """Raises DataError if something could not be read, whose other faults may come from that."""
    faults = sorted(pc.list_flatten(lists).to_pylist(), key=lambda fault: fault["position"])
    if faults:
        others = f"; and {len(faults) - MAX_UNREADABLE} more faults" if len(faults) > MAX_UNREADABLE else ""
        raise DataError("; ".join(fault["fault"] for fault in faults[:MAX_UNREADABLE]) + others)


def _refuse_faults(faults: list[dict[str, Any]], num_interactions: int, log: RawLog) -> None:
    """Raises DataError if there are faults."""
    messages = []
    for number, check in enumerate(_CHECKS):
        same = [fault for fault in faults if fault["check"] == number]
        if same:
            first, count = min(same, key=lambda fault: fault["position"]), sum(fault["count"] for fault in same)
            where = f"first at {log.locate(first['position'])} ({first['example']})"
            messages.append(f"{check.column} {check.fault} in {count} of {num_interactions} rows, {where}")
    if messages:
        hint = MISSING_ID if any(_CHECKS[fault["check"]].fault == "is missing" for fault in faults) else ""
        raise DataError(f"{log.place}: {'; '.join(messages)}. Correct or remove these rows{hint}")
