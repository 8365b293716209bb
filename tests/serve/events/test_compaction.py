"""The event log in Parquet: by date, each event once, without forgotten users, readable by any engine."""

import json
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from data.artifacts.folders import Folder
from data.sources.event_log.files import SCHEMA, EventLog
from data.sources.event_log.removal import UNREAD
from data.sources.schema import DataError
from serve.events import compaction
from serve.events.compaction import LogCompactor, compact
from serve.events.config import EventsConfig
from serve.events.event import MICROS
from serve.events.popular.now import FILE
from serve.events.protocol import LoggedEvents, StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from serve.experiments.analysis import analyse
from serve.experiments.assignment import Assignment, Experiment
from serve.experiments.exposure_files import ExposureRun
from serve.experiments.exposures import ExposureLog
from tests.conformance.events import config, event, now_us

DAY = 1_769_817_600 * MICROS  # 2026-01-31


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state" / "events.sqlite"))


@pytest.fixture
def store(values: EventsConfig) -> SqliteStore:
    return SqliteStore(values)


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog.of(Folder.of(str(tmp_path)))


def all_ids(log: EventLog) -> list[str]:
    return sorted(id_ for file in log.files() for id_ in log.read(file)["event_id"].to_pylist())


def test_events_lie_by_the_date_on_which_they_happened(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path
) -> None:
    one = event("1", time_us=DAY + 5, value=2.5, context={"channel": "app"}, request_id="r")
    store.append([one, event("2", time_us=DAY - 1), event("3", time_us=DAY)])
    assert compact(values, store, Folder.of(str(tmp_path))) == 3
    assert [file.split("/")[0] for file in log.files()] == ["date=2026-01-30", "date=2026-01-31"]
    table = pads.dataset(log.folder.path, partitioning="hive").to_table()
    assert sorted(table["event_id"].to_pylist()) == ["1", "2", "3"]
    (row,) = [row for row in log.read(log.files()[1]).to_pylist() if row["event_id"] == "1"]
    received = row.pop("received")
    assert int(row.pop("time").timestamp()) == DAY // MICROS
    assert row == {
        "event_id": "1",
        "user_id": "u",
        "item_id": "i",
        "type": "click",
        "value": 2.5,
        "context": [("channel", "app")],
        "request_id": "r",
    }
    assert log.until_us >= int(received.timestamp()) * MICROS
    assert compact(values, store, Folder.of(str(tmp_path))) == 0
    store.append([event("4", time_us=DAY)])
    compact(values, store, Folder.of(str(tmp_path)))
    assert all_ids(log) == ["1", "2", "3", "4"]


def test_a_forgotten_user_is_removed_and_all_others_stay(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path
) -> None:
    storage = Folder.of(str(tmp_path))
    store.append([event("1"), event("2", user_id="v"), event("3", time_us=DAY), event("4", user_id="w", time_us=DAY)])
    compact(values, store, storage)
    store.forget("u", now_us())
    store.forget("w", now_us())
    assert all_ids(log) == ["1", "2", "3", "4"], "until the next compaction"
    store.append([event("5")])
    compact(values, store, storage)
    assert all_ids(log) == ["2", "5"]
    assert not [file for file in log.files() if file.startswith("date=2026-01-31")]


def test_a_damaged_file_keeps_nobody_in_the_log_who_was_forgotten(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Folder.of(str(tmp_path))
    for ids, day in ((("1", "2"), DAY), (("3", "4"), DAY + 86_400 * MICROS)):
        store.append([event(ids[0], time_us=day), event(ids[1], user_id="v", time_us=day)])
        compact(values, store, storage)
    damaged = Path(log.folder.path, log.files()[0])
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-30])
    store.forget("u", now_us())
    store.append([event("5")])
    assert compact(values, store, storage) == 1
    assert store.num_waiting() == 0, "the log goes on"
    assert f"{damaged}: cannot be read as Parquet" in caplog.text
    assert [id_ for file in log.files()[1:] for id_ in log.read(file)["event_id"].to_pylist()] == ["4", "5"]
    compact(values, store, storage)
    damaged.write_bytes(content)
    compact(values, store, storage)
    assert all_ids(log) == ["2", "4", "5"], "removed from the restored file too"
    assert not log.folder.exists(UNREAD)


def test_a_log_of_a_later_version_stays_as_it_is(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path
) -> None:
    log.folder.write_table("date=2026-01-31/a.parquet", SCHEMA.empty_table().replace_schema_metadata(None))
    store.append([event("1", user_id="v")])
    store.forget("u", now_us())
    for _ in range(2):
        with pytest.raises(DataError, match="update the stack"):
            compact(values, store, Folder.of(str(tmp_path)))
    assert log.read(log.files()[1])["event_id"].to_pylist() == ["1"]
    assert log.until_us == 0, "nobody reads the user's events until they are removed"


async def test_what_was_shown_to_a_forgotten_user_is_removed(
    values: EventsConfig, store: SqliteStore, tmp_path: Path
) -> None:
    """The analysis of the experiment has the other users then."""
    storage, experiment = Folder.of(str(tmp_path)), Experiment("canary", {"b": 0.5}, "2026-01-31T09:05:00.250+00:00")
    exposures = ExposureLog(storage, "replica")
    for user_id in ("u", "v", None):
        exposures.add_failure(Assignment(experiment, "b"), "b", user_id, f"to {user_id}", 1.0)
    await exposures.flush(at_once=True)
    store.forget("u", now_us())
    compact(values, store, storage)
    (run,) = ExposureRun.all(storage, "canary")
    assert sorted(run.read().table["request_id"].to_pylist()) == ["to None", "to v"]
    outcomes = pa.table({"request_id": ["to u", "to v"], "value": [1.0, 1.0]})
    analysed = analyse("canary", run.read().table, outcomes, experiment.variants)
    assert (analysed.outcomes.matched, analysed.outcomes.unmatched) == (1, 1)
    assert [result.num_users for result in analysed.results] == [0, 2]


def test_a_damaged_file_of_popular_items_keeps_no_event_out_of_the_log(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path
) -> None:
    storage = Folder.of(str(tmp_path))
    store.append([event("1")])
    compact(values, store, storage)
    log.folder.write_bytes(FILE, log.folder.read_bytes(FILE)[:-20])
    store.append([event("2")])
    assert compact(values, store, storage) == 1
    assert all_ids(log) == ["1", "2"]
    assert store.num_waiting() == 0


class Busy(SqliteStore):
    """A store to which others write while it is compacted."""

    def done(self, part: LoggedEvents) -> None:
        super().done(part)
        self.append([event(f"while {part.name}")])


def test_a_compaction_ends_while_events_come_and_users_are_forgotten(values: EventsConfig, tmp_path: Path) -> None:
    store = Busy(values)
    store.append([event("1"), event("2")])
    assert compact(values, store, Folder.of(str(tmp_path))) == 2
    assert store.num_waiting() == 1


def test_stopping_ends_a_compaction_between_parts(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MAX_PART", 1)
    store.append([event("1"), event("2"), event("3")])
    stop = threading.Event()

    def stopped(seconds: float) -> bool:  # when the first part is done, the endpoint stops
        if seconds == 0:
            stop.set()
        return stop.is_set()

    LogCompactor(values, Folder.of(str(tmp_path))).watch(stopped)
    assert all_ids(log) == ["1"]
    stop.set()
    LogCompactor(values, Folder.of(str(tmp_path))).watch(stop.wait)
    assert all_ids(log) == ["1", "2", "3"], "the last compaction ends by itself"


def test_events_stay_in_the_store_while_the_storage_takes_no_files(
    values: EventsConfig, store: SqliteStore, tmp_path: Path
) -> None:
    store.append([event("1")])
    (tmp_path / "events").write_text("a file where the log's folder should be")
    with pytest.raises(OSError, match="events"):
        compact(values, store, Folder.of(str(tmp_path)))
    assert store.num_waiting() == 1
    (tmp_path / "events").unlink()
    assert compact(values, store, Folder.of(str(tmp_path))) == 1


def test_what_is_read_ends_where_the_log_is_complete(
    values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path
) -> None:
    store.append([event("1"), event("2", time_us=DAY)])
    compact(values, store, Folder.of(str(tmp_path)))
    store.append([event("3"), event("4", time_us=DAY)])
    part = store.part(10)
    assert part is not None
    log.write(part.name, part.events[:1])  # and then it crashed
    read = pa.concat_tables(log.read_until(log.until_us))
    assert sorted(read["event_id"].to_pylist()) == ["1", "2"]
    compact(values, store, Folder.of(str(tmp_path)))
    assert all_ids(log) == ["1", "2", "3", "4"]


def test_a_log_of_another_version_or_a_damaged_file_is_refused(log: EventLog) -> None:
    log.folder.write_table("date=2026-01-31/a.parquet", SCHEMA.empty_table().replace_schema_metadata(None))
    with pytest.raises(DataError, match=r"a\.parquet: is an event log of version none, and 1 is known"):
        log.read("date=2026-01-31/a.parquet")
    Path(log.folder.path, "date=2026-01-31", "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"b\.parquet: cannot be read as Parquet"):
        log.read("date=2026-01-31/b.parquet")


def test_the_version_is_in_each_file(values: EventsConfig, store: SqliteStore, log: EventLog, tmp_path: Path) -> None:
    store.append([event("1")])
    compact(values, store, Folder.of(str(tmp_path)))
    (file,) = log.files()
    metadata = pq.read_schema(f"{log.folder.path}/{file}").metadata
    assert metadata[b"twotower.event_log.version"] == b"1"
    assert json.loads(Path(log.folder.path, "_until.json").read_text())["received_us"] == log.until_us


def test_a_file_of_states_of_another_version_is_refused(values: EventsConfig, store: SqliteStore) -> None:
    store.append([event("1")])
    with store._transaction() as connection:
        connection.execute("UPDATE facts SET value = '0' WHERE name = 'version'")
    with pytest.raises(StoreUnavailable, match=r"events\.path: .* is of version 0, and 1 is known: move it away"):
        SqliteStore(values).read(["u"])
