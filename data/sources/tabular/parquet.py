"""Parquet files as blocks of Arrow columns."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from data.artifacts.folders import Folder
from data.sources.schema import DataError

BLOCK_ROWS = 1 << 16
"""Number of rows of the blocks that a Parquet file is read in."""


def parquet_footer(file: Folder) -> pq.FileMetaData | None:
    """The metadata of a Parquet file, its columns and row groups; None for a file of 0 bytes.

    Raises:
        DataError: it is not a Parquet file.
    """
    if not file.filesystem.get_file_info(file.path).size:
        return None
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            return pq.ParquetFile(stream).metadata
    except (pa.ArrowInvalid, OSError) as e:
        cure = "if it is CSV, set data.source.format=csv, or for serve.refresh and recommend.users name it .csv; the"
        cure += " outcomes of serve.lift are Parquet alone"
        raise DataError(f"{file}: not a Parquet file ({e}); {cure}") from e


def parquet_blocks(file: Folder, row_group: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields these columns of one row group of a Parquet file, in their own types.

    Raises:
        DataError: the file cannot be read, or is no longer the one whose footer was read.
    """
    try:
        with file.filesystem.open_input_file(file.path) as stream:
            parquet = pq.ParquetFile(stream)
            if row_group >= parquet.num_row_groups or set(columns) - set(parquet.schema_arrow.names):
                raise DataError(f"{file}: was changed while it was read: prepare it anew")
            for batch in parquet.iter_batches(BLOCK_ROWS, row_groups=[row_group], columns=list(columns)):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as e:
        raise DataError(
            f"{file}: cannot be read ({e}): if its storage did not answer, run it again; otherwise write it anew"
        ) from e


def untyped_nulls(table: pa.Table) -> pa.Table:
    """The table with type null for each column of nulls alone, which some writers give any type (pandas: double)."""
    for number, name in enumerate(table.column_names):
        if table[name].null_count == len(table):
            table = table.set_column(number, name, pa.chunked_array([pa.nulls(len(table))]))
    return table
