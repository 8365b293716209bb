"""A store that is restored from a copy of some time ago: what was compacted since is in the event log once."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from data.sources.event_log.files import EventLog
from serve.events.compaction import compact
from serve.events.popular.now import FILE
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event
from tests.serve.events.test_compaction import all_ids


def copied(path: Path) -> Path:
    """A copy as the guide for operators makes one."""
    copy = path.with_suffix(".copy")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def restored(path: Path, copy: Path) -> None:
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    shutil.copy(copy, path)


def test_events_that_were_compacted_since_the_copy_are_not_doubled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They were in the log twice, and what came after the copy must not be replaced by what comes now."""
    path, storage = tmp_path / "events.sqlite", Folder.of(str(tmp_path))
    values, log = config(path=str(path)), EventLog.of(storage)
    store = SqliteStore(values)
    store.append([event("1"), event("2", time_us=86_400_000_000)])
    copy = copied(path)
    assert compact(values, store, storage) == 2
    store.append([event("3"), event("4")])
    assert compact(values, store, storage) == 2
    popular = log.folder.read_table(FILE)["weight"].to_pylist()
    store.close()
    restored(path, copy)
    again = SqliteStore(values)
    assert (compact(values, again, storage), again.num_waiting()) == (0, 0)
    assert log.folder.read_table(FILE)["weight"].to_pylist() == popular
    again.append([event("5"), event("6")])
    assert compact(values, again, storage) == 2
    assert all_ids(log) == ["1", "2", "3", "4", "5", "6"]
    again.close()
    restored(path, copy)
    damaged = Path(log.folder.path, log.files()[-1])
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert compact(values, SqliteStore(values), storage) <= 1
    assert f"{damaged}: cannot be read as Parquet" in caplog.text
