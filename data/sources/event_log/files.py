"""The files of the event log, which any engine reads as Parquet partitioned by date.

    <storage>/events/date=2026-01-31/<part>.parquet    events that happened on this day (UTC)
                    /_until.json                       until when the log is complete, and when it was compacted last
                    /_forgotten.json                   who was forgotten, whom the log from before may still have
                    /_unread.json                      damaged files, and who is to be removed from them
                    /_removing.json                    who is being removed, and from which files they already are
                    /_stores.json                      which state stores were compacted into it lately
                    /_id.json                          the id of the log, by which a state store knows its own

Each event is in one file, once. A file never changes, unless a user is forgotten. Names that begin with `_` or `.` are
not data, by the convention of Hive, Spark and pyarrow.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.artifacts.errors import one_line
from data.artifacts.folders import Folder, json_bytes
from data.artifacts.json_text import parsed
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records import arrow_compute as pc
from data.artifacts.records.hourly_files import ENDING
from data.artifacts.records.updates import update_file
from data.sources.schema import DataError

VERSION = "1"
"""Version of SCHEMA; a file of another version is refused."""

TIME = pa.timestamp("us", tz="UTC")

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("type", pa.string()),
        ("time", TIME),  # when it happened
        ("value", pa.float64()),
        ("context", pa.map_(pa.string(), pa.string())),
        ("request_id", pa.string()),
        ("received", TIME),  # when it was accepted: later events have later times, none has that of another
    ],
    metadata={"twotower.event_log.version": VERSION},
)
VERSION_KEY = b"twotower.event_log.version"

UNTIL, DATE = "_until.json", "date="

IS_FILE = re.compile(rf"{DATE}[^/]+/[^/]+{re.escape(ENDING)}")
"""The path of a file of the log in its folder."""

MICROS = 1_000_000
"""Microseconds in a second: all times of events are int microseconds since 1970 in UTC."""


class DamagedEvents(DataError):
    """A file of the event log cannot be read."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """The event log under a storage root.

    Attributes:
        folder: The folder of the log. It need not exist.
    """

    folder: Folder

    @classmethod
    def of(cls, storage: Folder) -> "EventLog":
        """The log of a storage root."""
        return cls(storage / "events")

    def files(self) -> list[str]:
        """The paths of all files in the folder of the log, by date."""
        return [file for file in self.folder.files() if IS_FILE.fullmatch(file)]

    def days(self) -> list[str]:
        """The days (UTC) that have files, see `days_of`."""
        return days_of(self.folder)

    def files_of(self, day: str) -> list[str]:
        """The paths of a day's files in the folder of the log."""
        return [f"{DATE}{day}/{name}" for name in (self.folder / f"{DATE}{day}").names() if name.endswith(ENDING)]

    @property
    def until_us(self) -> int:
        """The time up to which all accepted events are in the files, in microseconds since 1970; 0 at the beginning.

        Raises:
            DamagedFile: it is not known, because the file that says it is damaged.
        """
        return self._state()["received_us"]

    @property
    def compacted_us(self) -> int:
        """When the last complete compaction began, in microseconds since 1970; 0 if none is known.

        Raises:
            DamagedFile: as `until_us`.
        """
        return self._state()["compacted_us"]

    def _state(self) -> dict[str, int]:
        return self._state_of(self.folder.read_bytes(UNTIL) if self.folder.exists(UNTIL) else None)

    def _state_of(self, content: bytes | None) -> dict[str, int]:
        if content is None:
            return {"received_us": 0, "compacted_us": 0}
        cure = "remove it: the next compaction writes it again, and until then no event is read"
        place, what = f"{self.folder}/{UNTIL}", "the time until which the log is complete"
        return parsed(content, place, _times, what, cure)

    def set_until(self, until_us: int, lock: Lock = ALONE) -> None:
        """Records the time up to which all accepted events are in the files; it never goes back.

        Args:
            lock: The lock of compaction, which this process holds.
        """
        self._set("received_us", until_us, lock)

    def set_compacted(self, began_us: int, lock: Lock = ALONE) -> None:
        """Records when a compaction began that has moved all that was accepted by then; it never goes back.

        Args:
            lock: The lock of compaction, which this process holds.
        """
        self._set("compacted_us", began_us, lock)

    def _set(self, name: str, at_us: int, lock: Lock) -> None:
        def later(content: bytes | None) -> bytes:
            state = self._state_of(content)
            return content if content is not None and at_us <= state[name] else json_bytes({**state, name: at_us})

        update_file(self.folder, UNTIL, later, lock)

    def write(self, part: str, events: Sequence[Mapping[str, Any]], lock: Lock = ALONE) -> None:
        """Writes a part, one file for each day; the same part may be written again, with the same outcome.

        Args:
            part: Its name, which no other part has.
            events: JSON values by the names of SCHEMA, with times in microseconds since 1970.
            lock: The lock of compaction, which this process holds.
        """
        table = pa.Table.from_pylist([dict(event) for event in events], schema=SCHEMA)
        days = pc.strftime(table["time"], format="%Y-%m-%d")
        for day in pc.unique(days).to_pylist():
            lock.require()
            self.folder.write_table(f"{DATE}{day}/{part}{ENDING}", table.filter(pc.equal(days, day)))

    @contextmanager
    def opened(self, file: str) -> Iterator[pq.ParquetFile]:
        """A file of the log, from which the block reads.

        Raises:
            DamagedEvents: It is damaged, as far as the block has read it.
            DataError: It is of another version.
        """
        place = f"{self.folder}/{file}"
        try:
            with pq.ParquetFile(f"{self.folder.path}/{file}", filesystem=self.folder.filesystem) as events:
                found = (events.schema_arrow.metadata or {}).get(VERSION_KEY, b"none").decode()
                if found != VERSION:
                    raise DataError(
                        f"{place}: is an event log of version {found}, and {VERSION} is known; update the stack"
                    )
                yield events
        except (OSError, pa.ArrowInvalid) as e:
            raise DamagedEvents(f"{place}: cannot be read as Parquet ({e}); restore the file, or remove it") from e

    def read(self, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The events of a file; it raises what `opened` raises."""
        with self.opened(file) as events:
            table = events.read(None if columns is None else list(columns))
        return table.cast(SCHEMA) if columns is None else table.select(list(columns))

    def read_listed(self, file: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """As `read`, for who holds no lock; None for a file that was listed and is gone.

        Compaction deletes a file all of whose events are of users who were forgotten.

        Raises:
            DamagedEvents: It is damaged.
            DataError: It is of another version, or the storage does not answer.
        """
        try:
            return self.read(file, columns)
        except DamagedEvents:
            if not is_there(self.folder, file):
                return None
        return self.read(file, columns)  # what was a passing failure of the storage is over

    def read_until(self, until_us: int) -> Iterator[pa.Table]:
        """The events that were accepted until a moment, file by file."""
        for file in self.files():
            table = self.read(file)
            yield table.filter(pc.less_equal(table["received"], pa.scalar(until_us).cast(TIME)))


def _times(value: Any) -> dict[str, int]:
    """The content of `_until.json`; earlier versions did not say when they compacted last."""
    return {"received_us": int(value["received_us"]), "compacted_us": int(value.get("compacted_us", 0))}


def is_there(folder: Folder, file: str) -> bool:
    """Whether a file that could not be read as what it should be is there; False if it was deleted meanwhile.

    Raises:
        DataError: The storage does not answer, which says nothing against the file.
    """
    try:
        folder.read_bytes(file)
    except FileNotFoundError:
        return False
    except OSError as e:
        raise DataError(f"{folder}/{file}: the storage does not answer ({one_line(e)}): run it again") from e
    return True


def days_of(log: Folder) -> list[str]:
    """The days (UTC) that have a folder of their own in that of a log, the oldest first, such as 2026-01-31."""
    names = (folder.name for folder in log.subfolders())
    return [name.removeprefix(DATE) for name in names if name.startswith(DATE)]
