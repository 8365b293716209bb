"""Faults of a log: values that no interaction may have, counted block by block and named all in one error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.event_types import EventTypes
from data.sources.schema import SPLITS, DataError
from data.sources.source import RawLog
from data.sources.values.times import WHOLE_SECONDS

MAX_TIME_S = 253_402_300_799
"""The end of the year 9999 in unix seconds. Later times are probably milliseconds."""

MISSING_ID = (
    "; an id is missing where it is blank or spelled as in data.source.missing, and where a floating-point number is"
    " not whole or too large to be exact"
)

NO_TIME = (
    "; times in a float32 or float16 cannot be read beyond 16,777,215 or 2,047, where they are no longer exact:"
    f" {WHOLE_SECONDS}; a text such as 1.57E+09 has been rounded, as spreadsheets do: export the column with all digits"
)

FAULTS = pa.list_(
    pa.struct([("check", pa.int64()), ("count", pa.int64()), ("position", pa.int64()), ("example", pa.string())])
)
"""The type of what `faults_in` returns."""


@dataclass(frozen=True, slots=True)
class Check:
    """A fault that a value of a column can have.

    Attributes:
        found: maps the column to a mask of its faulty values; null counts as false.
        fault: the fault in words, after the name of the column.
    """

    column: str
    found: Callable[[pa.ChunkedArray], pa.ChunkedArray]
    fault: str


PAST_9999 = Check(
    "time",
    lambda times: pc.greater(times, MAX_TIME_S),
    "lies past the year 9999 (seconds are due, not milliseconds: set data.source.time_unit, or write digits of a date"
    " as 2019-10-01; if these are running numbers, set data.clock=order data.split.kind=leave_last_out)",
)
"""A fault of times alone: running numbers may be as large."""

CHECKS = (
    Check("user_id", lambda ids: pc.or_kleene(pc.is_null(ids), pc.equal(ids, "")), "is missing"),
    Check("item_id", lambda ids: pc.or_kleene(pc.is_null(ids), pc.equal(ids, "")), "is missing"),
    Check("time", lambda times: times.is_null(), "is missing or cannot be read as a time"),
    Check("time", lambda times: pc.less(times, 0), "is negative (expected unix seconds or a running number)"),
    PAST_9999,
    Check("weight", lambda weights: pc.invert(pc.fill_null(pc.is_finite(weights), False)), "is not a finite number"),
    Check("split", lambda splits: pc.invert(pc.is_in(splits, pa.array([*SPLITS, None]))), f"is none of {SPLITS}"),
)
"""Checks of every interaction."""


def checks_of_kept(types: EventTypes) -> tuple[Check, ...]:
    """Additional checks for interactions that pass `data.min_weight`.

    Weights must not be negative unless they are ratings, and event types must be known.
    """
    if types.positive_from is not None:
        return ()
    is_negative = Check(
        "weight",
        lambda weights: pc.less(weights, 0),
        "is negative (data.positive_from is for ratings, data.min_weight leaves low ones out)",
    )
    if not types:
        return (is_negative,)
    known = pa.array(list(types.types), pa.string())
    is_unknown = Check(
        "type",
        lambda values: pc.invert(pc.is_in(values, known)),
        f"is missing or none of {', '.join(types.types)} (add it to data.events; sign=ignore leaves it out)",
    )
    return is_negative, is_unknown


def faults_in(block: pa.Table, checks: Sequence[Check], first: int = 0) -> list[dict[str, Any]]:
    """The faults of a block of type FAULTS, each with its count and its first row.

    Args:
        block: of schema RAW_INTERACTIONS. A row without a user is looked at by checks of the user alone.
        first: the number of the first check.
    """
    known = block.filter(pc.is_valid(block["user_id"])) if block["user_id"].null_count else block
    faults = []
    for number, check in enumerate(checks, start=first):
        rows = block if check.column == "user_id" else known
        found = check.found(rows[check.column])
        if count := pc.sum(found).as_py():
            row = rows.slice(pc.index(found, True).as_py(), 1).to_pylist()[0]
            example = ", ".join(f"{name} {row[name]!r}" for name in dict.fromkeys((check.column, "user_id", "item_id")))
            faults.append({"check": number, "count": count, "position": row["position"], "example": example})
    return faults


def refuse_faults(
    faults: list[dict[str, Any]], num_interactions: int, log: RawLog, types: EventTypes, is_order: bool = False
) -> None:
    """Raises DataError if there are faults, those of all blocks together; an order may have any numbers."""
    messages, checks = [], (*CHECKS, *checks_of_kept(types))
    for number, check in enumerate(checks):
        same = [fault for fault in faults if fault["check"] == number]
        if same and not (is_order and check is PAST_9999):
            first, count = min(same, key=lambda fault: fault["position"]), sum(fault["count"] for fault in same)
            where = f"first at {log.locate(first['position'])} ({first['example']})"
            messages.append(f"{check.column} {check.fault} in {count} of {num_interactions} rows, {where}")
    if messages:
        found = {checks[fault["check"]] for fault in faults}
        hint = MISSING_ID if any(check.fault == "is missing" for check in found) else ""
        hint += NO_TIME if any(check.fault.endswith("as a time") for check in found) else ""
        raise DataError(f"{log.place}: {'; '.join(messages)}. Correct or remove these rows{hint}")
