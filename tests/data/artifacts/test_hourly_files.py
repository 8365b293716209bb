"""Compaction of an hour with many files: each is read once, and it is seen that it goes on."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.artifacts.leases import FileLock
from data.artifacts.records import compacting
from data.artifacts.records.hourly_files import HourlyFiles

SCHEMA = pa.schema([("id", pa.string())])
HOUR, NOW = "2026-01-31T10", datetime(2026, 1, 31, 12, tzinfo=UTC)
NUM_FILES = 20


def filled(folder: Folder, num_files: int = NUM_FILES) -> HourlyFiles:
    """An hour that is over, of which each process has written two rows at a time."""
    for number in range(num_files):
        rows = pa.table({"id": [f"{number:02}-{row}" for row in range(2)]}, schema=SCHEMA)
        folder.write_table(f"{HOUR}/{number:02}.parquet", rows)
    return HourlyFiles(folder, SCHEMA, "rows")


def wanted(num_files: int = NUM_FILES, but: str = "none") -> list[str]:
    return [f"{number:02}-{row}" for number in range(num_files) for row in range(2) if f"{number:02}" != but]


class CountedLock(FileLock):
    """Counts how often it was required, as who watches over a compaction does."""

    num_required = 0

    def require(self) -> None:
        self.num_required += 1


def test_each_file_is_read_once(bucket: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """It was opened four times: to see whether it can be read, and to read it."""
    files = filled(bucket, 4)
    caplog.set_level(logging.INFO, "werkzeug")
    assert files.compact(NOW) == [HOUR]
    asked = [line for line in caplog.messages if f"{HOUR}/02.parquet" in line]
    assert sum("GET /" in line for line in asked) == 2, "the end of the file, and its rows"
    assert files.read_hour(HOUR).table["id"].to_pylist() == wanted(4), "in the order of the files"
    assert files.open_hours() == []


def test_it_is_seen_that_a_long_hour_is_compacted(tmp_path: Path) -> None:
    """Serve ended the replica after half an hour, and the next one began the hour anew."""
    files, lock = filled(Folder.of(str(tmp_path))), CountedLock()
    files.compact(NOW, lock)
    assert lock.num_required >= 2 * NUM_FILES, "each file is read, and deleted"


def test_a_damaged_file_that_is_found_late_leaves_out_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then, most of the rows are written."""
    monkeypatch.setattr(compacting, "GROUP", 4)
    files = filled(Folder.of(str(tmp_path)))
    cut = Path(files.folder.path, HOUR, "17.parquet")
    content = cut.read_bytes()
    cut.write_bytes(content[:-20])
    assert files.compact(NOW) == [HOUR]
    assert files.folder.files() == [f"{HOUR}.parquet", f"{HOUR}/17.parquet"]
    assert files.read_hour(HOUR).table["id"].to_pylist() == wanted(but="17")
    cut.write_bytes(content)
    assert files.compact(NOW) == [HOUR]
    assert sorted(files.read_hour(HOUR).table["id"].to_pylist()) == wanted()
    assert files.folder.files() == [f"{HOUR}.parquet"]
