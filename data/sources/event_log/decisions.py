"""The decision log: every answer with its candidates, as Parquet partitioned by date.

    <storage>/decisions/date=2026-01-31/09.parquet                    an hour that is over
                       /.hours/2026-01-31T10/<replica>-<x>.parquet    an hour whose files are still small
                       /_forgotten.json                               users whose last decisions may still come

An engine that reads the folder finds each decision of the hours that are over once; `DecisionLog` reads the others too.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder, json_bytes
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records import arrow_compute as pc
from data.artifacts.records.hourly_files import ENDING, HourlyFiles, hour_name
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import DATE, MICROS, Removal, days_of
from data.sources.event_log.users import hashed

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),  # of the answer; each answer of a batch has its own
        ("kind", pa.string()),  # recommend or similar
        ("user", pa.string()),  # `decision_user`; null for a request without a user
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

OPEN_HOURS, FORGOTTEN = ".hours", "_forgotten.json"

LATE = timedelta(hours=1)
"""How long after a user was forgotten replicas may still write decisions from before."""


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
        """Deletes the days that were over before a moment."""
        for day in self.days():
            if day < hour_name(moment)[:10]:
                (self.folder / f"{DATE}{day}").delete()

    def forget(self, users: Mapping[str, int], now: datetime, lock: Lock = ALONE) -> int:
        """Removes the decisions about users from before they were forgotten; returns how many.

        Those that replicas write later are removed by the next calls.

        Args:
            users: by `decision_user`, when they were forgotten, in microseconds since 1970.
            lock: the lock of compaction, which this process holds.
        """
        if not users and not self.folder.exists(FORGOTTEN):
            return 0
        since_us = int((now - LATE).timestamp() * MICROS)

        def still_recent(content: bytes | None) -> bytes:
            before = {} if content is None else json.loads(content)
            return json_bytes({user: at for user, at in {**before, **users}.items() if at >= since_us})

        recent = json.loads(update_file(self.folder, FORGOTTEN, still_recent, lock)[1])
        if users:
            return self._remove({**recent, **users}, self.hours(), lock)
        return self._remove(recent, self.open_hours(), lock) if recent else 0

    def _remove(self, users: Mapping[str, int], hours: Iterable[str], lock: Lock) -> int:
        is_removed, removed = Removal(users, str), 0
        for hour in hours:
            compacted = [self.compacted(hour)] if self.folder.exists(self.compacted(hour)) else []
            removed += sum(self._remove_from(file, is_removed, lock) for file in (*compacted, *self.files(hour)))
        return removed

    def _remove_from(self, file: str, is_removed: Removal, lock: Lock) -> int:
        """Replaces a file by one without what is removed; a damaged one stays as it is."""

        def removed_N(table: pa.Table) -> np.ndarray:
            return is_removed(pc.fill_null(table["user"], ""), table["time"].cast(pa.int64()).to_numpy())

        try:
            columns = self.folder.read_table(file, ["user", "time"])
        except (OSError, ValueError):  # whoever reads its rows names it
            return 0
        if not (num := int(removed_N(columns).sum())):
            return 0
        lock.require()
        kept = (table.filter(pa.array(~removed_N(table))) for table in self.folder.read_groups(file))
        self.folder.write_tables(file, self.folder.read_schema(file), kept)
        return num


def decision_user(key: str) -> str:
    """The name of a user in the decision log: a keyed hash of `user_key`, so that forgotten users can be found."""
    return hashed(key)
