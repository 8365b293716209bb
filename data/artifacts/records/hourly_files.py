"""Rows that many processes record, as Parquet: a folder of small files for each hour, and one file for an hour over.

Each process writes files of its own. When an hour is over, its files become one, whatever is interrupted meanwhile: a
reader finds each row once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records.compacting import compact_hour
from data.artifacts.records.folding import Add, Folded, fold_files, made_of

ENDING = ".parquet"

T = TypeVar("T")

GRACE = timedelta(minutes=10)
"""An hour is compacted when it has been over for this long: by then hardly a process writes to it any more."""

Kept = Callable[[pa.Table], pa.Table]
"""Returns those of some rows that stay."""


def all_rows(rows: pa.Table) -> pa.Table:
    """The rows; see `Kept`."""
    return rows


@dataclass(frozen=True, slots=True)
class HourlyRows:
    """Rows that were read.

    Attributes:
        table: the rows.
        files: the files that were read or found damaged, by their paths in the folder.
        damaged: a sentence for each file that could not be read, and is left out.
    """

    table: pa.Table
    files: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    def __add__(self, other: "HourlyRows") -> "HourlyRows":
        table = pa.concat_tables([self.table, other.table])
        return HourlyRows(table, self.files + other.files, self.damaged + other.damaged)


@dataclass(frozen=True, slots=True)
class HourlyFiles:
    """The files of one kind of rows.

        <folder>/<hour>/<file>.parquet    written by the processes
                /<hour>.parquet           an hour that is over, compacted

    Attributes:
        folder: of all hours. It need not exist.
        schema: of the rows.
        kind: what the rows are, for messages.
    """

    folder: Folder
    schema: pa.Schema
    kind: str

    def part(self, hour: str) -> str:
        """The path of the folder of an hour's small files."""
        return hour

    def compacted(self, hour: str) -> str:
        """The path of an hour's compacted file in the folder, whether it exists or not."""
        return hour + ENDING

    def open_hours(self) -> list[str]:
        """The hours that have small files."""
        return [folder.name for folder in self.folder.subfolders()]

    def compacted_hours(self) -> list[str]:
        """The hours that have a compacted file."""
        return [file.removesuffix(ENDING) for file in self.folder.names() if file.endswith(ENDING)]

    def hours(self) -> list[str]:
        """The hours that have files, the oldest first, such as 2026-01-31T09."""
        return sorted({*self.compacted_hours(), *self.open_hours()})

    def write(self, file: str, rows: pa.Table, begun: datetime | None = None) -> None:
        """Writes rows as a file of an hour.

        A write that fails may have reached the storage all the same. Written again by the same arguments, each row is
        read once, also where the hour has been compacted meanwhile.

        Args:
            file: its name, unique among those of all processes.
            begun: the moment whose hour it is; None means now.
        """
        self.write_parts(file, [rows], begun)

    def write_parts(self, file: str, parts: Iterable[pa.Table], begun: datetime | None = None) -> None:
        """Writes rows like `write`, one part after the other; one at a time is in memory."""
        name = f"{self.part(hour_name(begun or datetime.now(UTC)))}/{file}{ENDING}"
        self.write_as(name, self.schema, parts)

    def write_as(self, file: str, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
        """Writes rows as a file of the folder, by its path there; the schema may have metadata of its own."""
        self.folder.write_tables(file, schema, parts, use_dictionary=_repeating(schema))

    def read_hour(self, hour: str) -> HourlyRows:
        """Reads the rows of an hour. A damaged file is left out and named.

        Raises:
            OSError: the storage does not answer.
        """
        return self._rows(self.fold_hour(hour, [], _with_groups))

    def fold_hour(self, hour: str, start: T, add: Add[T], but: frozenset[str] = frozenset()) -> Folded[T]:
        """Adds the rows of an hour to something, see `fold_files`; `but` are files that are left out, by their paths.

        Raises:
            OSError: the storage does not answer.
        """
        for _ in range(3):  # files may be compacted between listing and reading
            compacted = [self.compacted(hour)] if self.folder.exists(self.compacted(hour)) else []
            with suppress(FileNotFoundError):
                files = [file for file in (*compacted, *self.files(hour)) if file not in but]
                return self.fold_files(files, start, add)
        raise OSError(f"{self.folder}/{hour}: its files vanish while they are read")

    def fold(self, start: T, add: Add[T]) -> Folded[T]:
        """Adds the rows of all hours to something, the oldest first; it raises what `fold_hour` raises."""
        read = Folded(start, (), ())
        for hour in self.hours():
            of_hour = self.fold_hour(hour, read.value, add)
            read = Folded(of_hour.value, read.files + of_hour.files, read.damaged + of_hour.damaged)
        return read

    def read_files(self, files: Sequence[str]) -> HourlyRows:
        """Reads files of the folder, by their paths in it; it raises what `fold_files` raises."""
        return self._rows(self.fold_files(files, [], _with_groups))

    def fold_files(self, files: Sequence[str], start: T, add: Add[T]) -> Folded[T]:
        """Adds the rows of files of the folder to something, see `fold_files` of data/artifacts/records/folding.py."""
        return fold_files(self.folder, files, self.schema, self.kind, start, add)

    def _rows(self, read: Folded[list[pa.Table]]) -> HourlyRows:
        return HourlyRows(pa.concat_tables([self.schema.empty_table(), *read.value]), read.files, read.damaged)

    def read_file(self, file: str) -> pa.Table | str:
        """The rows of a file; for a damaged file a sentence that names it. It raises what `read_files` raises."""
        read = self.read_files([file])
        return read.damaged[0] if read.damaged else read.table

    def files(self, hour: str) -> list[str]:
        """The files of an hour whose rows are not in its compacted file, by their paths in the folder."""
        compacted = self.compacted_from(hour)
        files = (f"{self.part(hour)}/{file}" for file in (self.folder / self.part(hour)).names())
        return [file for file in files if file.endswith(ENDING) and file not in compacted]

    def compact(self, now: datetime, lock: Lock = ALONE, kept: Kept = all_rows) -> list[str]:
        """Makes one file of each hour that is over; returns those hours.

        A reader that comes in between, or after an interruption, finds each row once: the compacted file names the
        files that it was made of. A damaged file stays where it is.

        Args:
            lock: the lock of who else changes the files; it is required for each file.
            kept: says which rows of the small files stay.
        """
        last = hour_name(now - GRACE - timedelta(hours=1))
        return [hour for hour in self.open_hours() if hour <= last and compact_hour(self, hour, lock, kept)]

    def drop(self, hour: str) -> None:
        """Deletes the files of an hour, the compacted one first: what is left after an interruption is read once."""
        self.folder.delete_file(self.compacted(hour))
        (self.folder / self.part(hour)).delete()

    def compacted_from(self, hour: str) -> frozenset[str]:
        """The files whose rows are in the compacted file of an hour; none if it is not there, or is damaged."""
        if not self.folder.exists(self.compacted(hour)):
            return frozenset()
        try:
            return made_of(self.folder.read_schema(self.compacted(hour)))
        except (OSError, ValueError):  # whoever reads its rows names it
            return frozenset()


def _with_groups(tables: list[pa.Table], groups: Iterator[pa.Table]) -> list[pa.Table]:
    return [*tables, *groups]


def hour_name(moment: datetime) -> str:
    """The name of the hour in UTC that a moment is in."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H}"


def _repeating(schema: pa.Schema) -> list[str]:
    """The Parquet columns that get dictionaries: all but those of floating-point numbers, which hardly repeat.

    There a dictionary takes half of the time of writing, and a fourth of the space.
    """
    names: list[str] = []
    for field in schema:
        if pa.types.is_map(field.type):
            names += [f"{field.name}.key_value.key", f"{field.name}.key_value.value"]
        elif pa.types.is_list(field.type):
            names += [] if pa.types.is_floating(field.type.value_type) else [f"{field.name}.list.element"]
        elif not pa.types.is_floating(field.type):
            names.append(field.name)
    return names
