"""Outcomes: what users did with the answers to requests, as a service records it in Parquet files."""

import pyarrow as pa
import pyarrow.compute as pc

from data.sources.casts import checked
from data.sources.files import files_at
from data.sources.schema import DataError
from data.sources.tabular.parquet import untyped_nulls
from data.sources.tabular.pieces import Piece, by_file, pieces_of
from data.sources.values.ids import ids
from data.sources.values.missing import present
from data.sources.values.numbers import numbers

SETTING, COLUMNS = "outcomes", ("request_id", "value")

SCHEMA = pa.schema([("request_id", pa.string()), ("value", pa.float64())])

CURE = "correct it, or remove its row"

MAX_VALUE = 1e100
"""Largest magnitude of an outcome: sums of up to 1e50 of them, and the squares of these sums, are finite as float64."""


def read_outcomes(path: str) -> pa.Table:
    """Reads what users did: the columns `request_id` (string) and `value` (float64) of a Parquet file, or of a folder.

    Each file of a folder may have types of its own, as writers in parts choose them by their rows. Files of 0 bytes are
    left out. Folders such as `value=1` give their files the column.

    Raises:
        DataError: a file is missing or not Parquet, a column is missing or of another type, or a value is missing,
            not a finite number, or of a magnitude above MAX_VALUE; or all files have 0 bytes.
    """
    pieces = pieces_of(path, SETTING, COLUMNS, None)
    if not pieces and not any(file.filesystem.get_file_info(file.path).size for file in files_at(path, SETTING)):
        raise DataError(f"{SETTING}: {path}: has 0 bytes, and is no Parquet file; write it again")
    read = [_read_file(of_file) for of_file in by_file(pieces)]
    return pa.concat_tables([SCHEMA.empty_table(), *read])


def _read_file(pieces: list[Piece]) -> pa.Table:
    place = f"{SETTING}: {pieces[0].file}, column"
    rows = untyped_nulls(pa.concat_tables([block for piece in pieces for block in piece.blocks(COLUMNS)]))
    request_id = checked(ids, present(rows["request_id"]), f"{place} 'request_id'", CURE)
    value = checked(numbers, present(rows["value"]), f"{place} 'value'", CURE)
    _refuse(pc.is_null(request_id), rows["request_id"], f"{place} 'request_id'", "an id")
    _refuse(pc.invert(pc.fill_null(pc.is_finite(value), False)), rows["value"], f"{place} 'value'", "finite")
    is_too_large = pc.greater(pc.abs(value), MAX_VALUE)
    wanted = f"between {-MAX_VALUE:g} and {MAX_VALUE:g}, so that their sums and squares are finite"
    _refuse(is_too_large, rows["value"], f"{place} 'value'", wanted)
    return pa.table({"request_id": request_id, "value": value}).cast(SCHEMA)


def _refuse(is_wrong: pa.ChunkedArray, column: pa.ChunkedArray, place: str, expected: str) -> None:
    """Raises DataError with the number of wrong values, and the first of them, if there is one; rows count from 1."""
    if count := pc.sum(is_wrong).as_py():
        index = pc.index(is_wrong, True).as_py()
        value = column[index].as_py()
        raise DataError(
            f"{place}: {count} of {len(column)} values are not {expected}, first {value!r} in row {index + 1}: {CURE}"
        )
