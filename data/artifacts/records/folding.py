"""Rows of many Parquet files that are added to something, one row group after the other, and never held together."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from data.artifacts.folders import Folder

T = TypeVar("T")

Add = Callable[[T, Iterator[pa.Table]], T]
"""Returns what it is given with the rows of a file, which come group by group; what it is given stays as it is."""

COMPACTED = b"compacted"
"""Key of the metadata of a compacted file; its value is a JSON list of the files whose rows it has."""


@dataclass(frozen=True, slots=True)
class Folded(Generic[T]):
    """What the rows of files were added to.

    Attributes:
        value: with the rows of all files that could be read.
        files: the files that were read or found damaged, by their paths in the folder.
        damaged: a sentence for each file that could not be read, and is left out.
    """

    value: T
    files: tuple[str, ...]
    damaged: tuple[str, ...]


def fold_files(folder: Folder, files: Sequence[str], schema: pa.Schema, kind: str, start: T, add: Add[T]) -> Folded[T]:
    """Adds the rows of files to something, file by file. A damaged file is left out and named.

    Args:
        files: by their paths in the folder.
        schema: that of the rows.
        kind: what the rows are, for messages.
        start: what they are added to.

    Raises:
        FileNotFoundError: a file is gone.
        OSError: the storage does not answer.
    """
    value, damaged = start, list[str]()
    for file in files:
        try:
            value = add(value, _groups(folder, file, schema))
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as e:  # pyarrow raises either for a file that is cut
            if not folder.exists(file):  # raises OSError where the storage does not answer
                raise FileNotFoundError(f"{folder}/{file}") from e
            damaged.append(f"{folder}/{file}: left out, because it cannot be read as {kind} ({e})")
    return Folded(value, tuple(files), tuple(damaged))


def _groups(folder: Folder, file: str, schema: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(f"{folder.path}/{file}", filesystem=folder.filesystem) as opened:
        made_of(opened.schema_arrow)
        for group in range(opened.num_row_groups):
            yield opened.read_row_group(group).cast(schema)


def made_of(schema: pa.Schema) -> frozenset[str]:
    """The files whose rows a file has, by the metadata of its schema; ValueError where these say it wrongly.

    Its rows may be in other files too, so they cannot be counted.
    """
    found = json.loads((schema.metadata or {}).get(COMPACTED, b"[]"))
    if not isinstance(found, list) or not all(isinstance(file, str) for file in found):
        raise ValueError(f"its metadata {COMPACTED.decode()!r} is no list of files")
    return frozenset(found)
