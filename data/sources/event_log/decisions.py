"""The decision log: every answer with its candidates, as Parquet partitioned by date.

    <storage>/decisions/date=2026-01-31/09.parquet                    an hour that is over
                       /.hours/2026-01-31T10/<replica>-<x>.parquet    an hour whose files are still small
                       /_forgotten.json                               who was forgotten, whose decisions may still come

An engine that reads the folder finds each decision of the hours that are over once; `DecisionLog` reads the others too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records.hourly_files import ENDING, HourlyFiles, Kept, all_rows, hour_name
from data.sources.event_log.files import DATE, days_of
from data.sources.event_log.forgetting import lately, note_forgotten, remove_users, without

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),  # of the answer; each answer of a batch has its own
        ("kind", pa.string()),  # recommend or similar
        ("user", pa.string()),  # `logged_user`; null for a request without a user
        ("context", pa.map_(pa.string(), pa.string())),  # as the request named it
        ("release_id", pa.string()),
        ("experiment", pa.string()),  # null where none runs
        ("variant", pa.string()),
        ("source", pa.string()),
        ("reasons", pa.list_(pa.string())),  # what was left out of the answer
        ("took_ms", pa.float32()),
        ("item_ids", pa.list_(pa.string())),  # the items shown, in their order, and then the other candidates
        ("scores", pa.list_(pa.float32())),  # of each of them
        ("num_shown", pa.int32()),  # the first ones were shown, at the positions 1 to num_shown
    ]
)

OPEN_HOURS = ".hours"


@dataclass(frozen=True, slots=True)
class DecisionLog(HourlyFiles):
    """The decision log under a storage root, written by the replicas of an endpoint."""

    @classmethod
    def of(cls, storage: Folder) -> "DecisionLog":
        """The log of a storage root."""
        return cls(storage / "decisions", SCHEMA, "decisions")

    def part(self, hour: str) -> str:
        """The path of the folder of an hour's small files."""
        return f"{OPEN_HOURS}/{hour}"

    def compacted(self, hour: str) -> str:
        """The path of an hour's compacted file, whether it exists or not."""
        date, _, number = hour.partition("T")
        return f"{DATE}{date}/{number}{ENDING}"

    def open_hours(self) -> list[str]:
        """The hours that have small files."""
        return [folder.name for folder in (self.folder / OPEN_HOURS).subfolders()]

    def compacted_hours(self) -> list[str]:
        """The hours that have a compacted file."""
        return [hour for day in self.days() for hour in self.hours_of(day)]

    def days(self) -> list[str]:
        """The days (UTC) with hours that are over, see `days_of`."""
        return days_of(self.folder)

    def hours_of(self, day: str) -> list[str]:
        """The hours of a day that have a compacted file."""
        names = (self.folder / f"{DATE}{day}").names()
        return [f"{day}T{name.removesuffix(ENDING)}" for name in names if name.endswith(ENDING)]

    def drop_before(self, moment: datetime) -> None:
        """Deletes the days that were over before a moment, with files of theirs that could not be compacted."""
        first = hour_name(moment)[:10]
        for day in self.days():
            if day < first:
                (self.folder / f"{DATE}{day}").delete()
        for hour in self.open_hours():
            if hour[:10] < first:
                (self.folder / self.part(hour)).delete()

    def compact(self, now: datetime, lock: Lock = ALONE, kept: Kept = all_rows) -> list[str]:
        """As `HourlyFiles.compact`, without decisions about users from before they were forgotten, however late they
        have come.
        """
        remaining = without(note_forgotten(self.folder, {}, lock))
        return HourlyFiles.compact(self, now, lock, lambda rows: remaining(kept(rows)))

    def forget(self, users: Mapping[str, int], now: datetime, lock: Lock = ALONE) -> int:
        """Removes the decisions about users from before they were forgotten; returns how many.

        Those that replicas write later are removed by the next calls and, after an hour, by `compact`.

        Args:
            users: by `logged_user`, when they were forgotten, in microseconds since 1970.
            lock: the lock of compaction, which this process holds.
        """
        recent = lately(note_forgotten(self.folder, users, lock), now)
        if users:
            return remove_users(self, {**recent, **users}, self.hours(), lock)
        return remove_users(self, recent, self.open_hours(), lock) if recent else 0
