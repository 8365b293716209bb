"""Outcomes: what users did with the answers to requests, as a service records it in a Parquet file."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.sources.casts import checked, numbers
from data.sources.schema import DataError
from data.sources.values.ids import ids
from data.sources.values.missing import present

CURE = "correct it, or remove its row"

MAX_VALUE = 1e100
"""Largest magnitude of an outcome: sums of up to 1e50 of them, and the squares of these sums, are finite as float64."""


def read_outcomes(path: str) -> pa.Table:
    """Reads what users did: the columns `request_id` (string) and `value` (float64) of a Parquet file.

    Raises:
        DataError: the file is missing or not Parquet, a column is missing or of another type, or a value is missing,
            not a finite number, or of a magnitude above MAX_VALUE.
    """
    try:
        outcomes = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as e:
        raise DataError(f"outcomes: {path}: cannot be read as Parquet ({e})") from e
    if missing := {"request_id", "value"} - set(outcomes.column_names):
        raise DataError(
            f"outcomes: {path}: has no column {', '.join(sorted(missing))}; request_id and value are required"
        )
    place = f"outcomes: {path}, column"
    request_id = checked(ids, present(outcomes["request_id"]), f"{place} 'request_id'", CURE)
    value = checked(numbers, present(outcomes["value"]), f"{place} 'value'", CURE)
    _refuse(pc.is_null(request_id), outcomes["request_id"], f"{place} 'request_id'", "an id")
    _refuse(pc.invert(pc.fill_null(pc.is_finite(value), False)), outcomes["value"], f"{place} 'value'", "finite")
    is_too_large = pc.greater(pc.abs(value), MAX_VALUE)
    wanted = f"between {-MAX_VALUE:g} and {MAX_VALUE:g}, so that their sums and squares are finite"
    _refuse(is_too_large, outcomes["value"], f"{place} 'value'", wanted)
    return pa.table({"request_id": request_id, "value": value})


def _refuse(is_wrong: pa.ChunkedArray, column: pa.ChunkedArray, place: str, expected: str) -> None:
    """Raises DataError with the number of wrong values, and the first of them, if there is one; rows count from 1."""
    if count := pc.sum(is_wrong).as_py():
        index = pc.index(is_wrong, True).as_py()
        value = column[index].as_py()
        raise DataError(
            f"{place}: {count} of {len(column)} values are not {expected}, first {value!r} in row {index + 1}: {CURE}"
        )
