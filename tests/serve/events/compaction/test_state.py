"""What a compaction leaves behind: when it last succeeded, how much waits, and that there is an endpoint at all."""

import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.sources.event_log.files import UNTIL, EventLog
from data.sources.event_log.stores import LATELY_US, STORES
from serve.batch.forgotten import forgotten_users
from serve.events import compaction
from serve.events.compaction import LogCompactor, compact
from serve.events.config import EventsConfig
from serve.events.protocol import StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event, now_us
from tests.serve.events.test_compaction import DAY


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state" / "events.sqlite"))


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog.of(Folder.of(str(tmp_path)))


def reports_of_a_round(values: EventsConfig, tmp_path: Path) -> list[tuple[dict[str, float], int | None]]:
    """What is reported before and after the last round of a compaction that is stopped."""
    found: list[tuple[dict[str, float], int | None]] = []

    def report(compacted_s: Mapping[str, float], num_waiting: int | None) -> None:
        found.append((dict(compacted_s), num_waiting))

    stop = threading.Event()
    stop.set()
    LogCompactor(values, Folder.of(str(tmp_path)), lambda _: None, report).watch(stop.wait)
    return found


def test_a_compaction_that_fails_does_not_count_and_what_waits_is_told(
    values: EventsConfig, log: EventLog, tmp_path: Path
) -> None:
    """It was seen nowhere but in the output of a process that answers nobody."""
    SqliteStore(values).append([event("1", time_us=DAY)])
    log.set_compacted(5_000_000)
    (tmp_path / "events" / "date=2026-01-31").write_text("a file where the day's folder should be")
    (first, waiting), (second, still_waiting) = reports_of_a_round(values, tmp_path)
    assert (first["events"], second["events"]) == (5.0, 5.0), "also of a process that was started again"
    assert (waiting, still_waiting) == (1, 1)
    assert second["decisions"] > first["decisions"] and second["exposures"] > first["exposures"]
    (tmp_path / "events" / "date=2026-01-31").unlink()
    _, (third, waiting) = reports_of_a_round(values, tmp_path)
    assert third["events"] > first["decisions"] and waiting == 0
    assert log.compacted_us > 5_000_000


def test_where_events_are_off_the_other_logs_are_told(tmp_path: Path) -> None:
    for compacted_s, waiting in reports_of_a_round(config(store="off"), tmp_path):
        assert compacted_s.keys() == {"exposures", "decisions"} and waiting is None


def test_a_store_that_does_not_answer_says_nothing_of_what_waits(values: EventsConfig, tmp_path: Path) -> None:
    path = Path(values.path)
    path.parent.mkdir()
    path.write_text("something else, and longer than the header of a database" * 99)
    assert [waiting for _, waiting in reports_of_a_round(values, tmp_path)] == [None, None]


def test_a_compaction_that_is_cut_short_is_not_complete(
    values: EventsConfig, log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MAX_PART", 1)
    store = SqliteStore(values)
    store.append([event("1"), event("2")])
    assert compact(values, store, Folder.of(str(tmp_path)), lambda: True) == 1
    assert log.compacted_us == 0 and log.until_us > 0
    began_us = now_us()
    assert compact(values, store, Folder.of(str(tmp_path))) == 1
    assert log.compacted_us >= began_us


def test_the_first_compaction_leaves_a_trace_without_events_too(
    values: EventsConfig, log: EventLog, tmp_path: Path
) -> None:
    """Elsewhere nobody counted as forgotten, though only this endpoint's store knows who was."""
    storage, elsewhere = Folder.of(str(tmp_path)), replace(values, path=str(tmp_path / "none" / "events.sqlite"))
    assert forgotten_users(elsewhere, storage, pa.array(["a"]), 0) == []
    assert compact(values, SqliteStore(values), storage) == 0
    assert log.until_us == 0
    with pytest.raises(StoreUnavailable, match=r"there is no .*_until\.json says that there is an endpoint"):
        forgotten_users(elsewhere, storage, pa.array(["a"]), 0)


def test_the_two_times_of_a_log_do_not_touch_each_other(log: EventLog) -> None:
    log.folder.create().write_bytes(UNTIL, b'{"received_us": 7}')  # of an earlier version
    assert (log.until_us, log.compacted_us) == (7, 0)
    log.set_compacted(9)
    log.set_until(8)
    log.set_compacted(5)
    log.set_until(6)
    assert (log.until_us, log.compacted_us) == (8, 9)


def test_another_store_of_the_same_log_is_named_once(
    values: EventsConfig, log: EventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two endpoints under one storage root, each with a store of its own."""
    storage, another = Folder.of(str(tmp_path)), replace(values, path=str(tmp_path / "another.sqlite"))
    for _ in range(2):
        compact(values, SqliteStore(values), storage)
    assert caplog.text == ""
    for _ in range(2):
        compact(another, SqliteStore(another), storage)
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"{another.place} and, within the last day, {values.place}: datasets may lack events" in said
    assert places(log) == [another.place, values.place]
    noted = log.folder.read_json(STORES)
    log.folder.write_json(STORES, {id_: {**of, "at": of["at"] - LATELY_US} for id_, of in noted.items()})
    compact(another, SqliteStore(another), storage)
    assert places(log) == [another.place], "one that is used no longer is dropped"
    for content in (b"{", b'{"sqlite at before:/of/an/earlier/version": 1}'):
        log.folder.write_bytes(STORES, content)
        compact(another, SqliteStore(another), storage)
        assert places(log) == [another.place]


def places(log: EventLog) -> list[str]:
    return sorted(of["place"] for of in log.folder.read_json(STORES).values())


def test_a_store_whose_machine_has_another_name_is_the_same(
    values: EventsConfig,
    log: EventLog,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in each new container: for a day, it was taken for a second endpoint's, which should get another root."""
    for name in ("4f1c", "90ab"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        compact(values, SqliteStore(values), Folder.of(str(tmp_path)))
    assert caplog.text == ""
    assert places(log) == [f"sqlite at 90ab:{values.path}"]


def test_the_place_of_a_store_has_no_password() -> None:
    place = config(store="redis", uri="redis://:secret@redis:6379/0").place
    assert place == "redis at redis://***@redis:6379/0"
