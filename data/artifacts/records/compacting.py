"""Compaction of an hour: the files that many processes have written become one, whatever is interrupted meanwhile."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from data.artifacts.json_text import json_text
from data.artifacts.leases import Lock, held_to_the_end
from data.artifacts.records.ahead import ahead
from data.artifacts.records.folding import COMPACTED

if TYPE_CHECKING:
    from data.artifacts.records.hourly_files import HourlyFiles, Kept

GROUP = 20_000
"""Fewest rows of a compacted file that are written at a time, and are in memory while they are."""


class DamagedRows(OSError):
    """A file cannot be read as rows."""


def compact_hour(of: "HourlyFiles", hour: str, lock: Lock, kept: "Kept") -> bool:
    """Adds the files of an hour to its compacted file, and deletes them; returns whether there were any.

    Args:
        lock: the lock of who else changes the files; it is required for each file.
        kept: says which rows of the small files stay.
    """
    before = of.compacted_from(hour)
    if not before and of.folder.exists(of.compacted(hour)):
        return False  # it cannot be read now, and must not be replaced
    added = _add(of, hour, before, lock, kept)
    lock.require()
    part, merged = of.folder / of.part(hour), before.union(added)
    over = [file for file in (f"{of.part(hour)}/{name}" for name in part.names()) if file in merged]
    for _ in ahead(of.folder.delete_file, over):
        lock.require()
    if not part.files():
        part.delete()
    return bool(added)


def _add(of: "HourlyFiles", hour: str, before: frozenset[str], lock: Lock, kept: "Kept") -> Sequence[str]:
    """Adds the files of an hour to its compacted file; returns those that could be read."""
    files = of.files(hour)
    try:
        _write(of, hour, before, files, lock, kept)
        return files
    except DamagedRows:  # seldom: which others are damaged must be known before a file is written that names its parts
        pass
    readable = []
    for file, read in zip(files, ahead(of.read_file, files), strict=True):
        lock.require()
        if isinstance(read, pa.Table):
            readable.append(file)
    _write(of, hour, before, readable, lock, kept)
    return readable


def _write(
    of: "HourlyFiles", hour: str, before: frozenset[str], files: Sequence[str], lock: Lock, kept: "Kept"
) -> None:
    """Writes the compacted file of an hour with the rows of files added; it is as it was where one is damaged.

    Raises:
        DamagedRows: a file cannot be read.
    """
    if not files:
        return
    rows = rows_of(of, files, lock)
    first = next(rows)  # before anything is written
    earlier = _earlier(of, hour, lock) if before else ()
    added = map(kept, chain([first], rows))
    schema = of.schema.with_metadata({COMPACTED: json_text(sorted(before.union(files)))})
    of.write_as(of.compacted(hour), schema, chain(earlier, added, held_to_the_end(lock)))


def _earlier(of: "HourlyFiles", hour: str, lock: Lock) -> Iterator[pa.Table]:
    """The rows that are in the compacted file of an hour."""
    for group in of.folder.read_groups(of.compacted(hour)):
        lock.require()
        yield group


def rows_of(of: "HourlyFiles", files: Sequence[str], lock: Lock) -> Iterator[pa.Table]:
    """The rows of files, each of which is read once, in tables of at least GROUP rows but for the last.

    Raises:
        DamagedRows: a file cannot be read.
    """
    waiting = of.schema.empty_table()
    for table in ahead(of.read_file, files):
        lock.require()
        if isinstance(table, str):
            raise DamagedRows(table)
        waiting = pa.concat_tables([waiting, table])
        if len(waiting) >= GROUP:
            yield waiting
            waiting = of.schema.empty_table()
    yield waiting
