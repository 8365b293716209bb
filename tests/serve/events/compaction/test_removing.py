"""Forgotten users are removed in one pass over the event log, which says that it goes on and survives interruptions."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data.artifacts.folders import Folder
from data.sources.event_log import removal
from data.sources.event_log.files import EventLog
from data.sources.event_log.removing import REMOVING, Removing
from data.sources.event_log.users import user_key
from serve.events.compaction import LogCompactor, compact
from serve.events.config import EventsConfig
from serve.events.protocol import LogEnd, LoggedEvents, StoreUnavailable
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, now_us

NUM_FILES = 20


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state" / "events.sqlite"), popular_half_life_h=0)


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


def row(id_: str, user_id: str) -> dict[str, Any]:
    fields = {"item_id": "i", "type": "click", "value": None, "context": {"page": "home"}, "request_id": None}
    return {"event_id": id_, "user_id": user_id, "time": now_us(), "received": now_us()} | fields


def filled(storage: Folder, num_files: int = NUM_FILES) -> EventLog:
    """A log of many files, each with an event of u, of v and of w."""
    log = EventLog.of(storage)
    for number in range(num_files):
        log.write(f"part-{number:02}", [row(f"{user}{number}", user) for user in "uvw"])
    return log


def users(log: EventLog) -> list[set[str]]:
    return [set(log.read(file)["user_id"].to_pylist()) for file in log.files()]


@dataclass
class Parts:
    """A store that has these parts, as Redis has one of each shard; `until` has what the log says when each is done."""

    parts: list[LoggedEvents]
    done_parts: list[str] = field(default_factory=list)
    until: list[int] = field(default_factory=list)
    log: EventLog | None = None
    fails_after: int = 99

    def end(self) -> LogEnd:
        return (0,)

    def part(self, max_events: int, end: LogEnd | None = None) -> LoggedEvents | None:
        if len(self.done_parts) == self.fails_after:
            raise StoreUnavailable("the store does not answer")
        return self.parts[0] if self.parts else None

    def done(self, part: LoggedEvents) -> None:
        self.done_parts.append(part.name)
        self.parts = self.parts[1:]
        if self.log is not None:
            self.until.append(self.log.until_us)

    def note(self, name: str, value: str, *, replaces: bool = True) -> str:
        return value

    def prune(self, before_us: int) -> None:
        pass


def forgetting(**forgotten: int) -> list[LoggedEvents]:
    """A part for each forgotten user."""
    return [LoggedEvents(f"0-{user}", [], at, {user_key(user): at}) for user, at in forgotten.items()]


def test_it_is_seen_that_a_long_removal_goes_on(values: EventsConfig, storage: Folder) -> None:
    """Serve ended the replica after half an hour, and the next one began with the first file again."""
    filled(storage)
    SqliteStore(values).forget("u", now_us())
    waited: list[float] = []

    def stopped(seconds: float) -> bool:
        waited.append(seconds)
        return seconds > 0

    LogCompactor(values, storage, lambda _: None).watch(stopped)
    assert waited.count(0) >= NUM_FILES


def test_all_who_are_forgotten_in_a_compaction_are_removed_in_one_pass(values: EventsConfig, storage: Folder) -> None:
    """There were as many passes as shards of Redis."""
    log, steps = filled(storage), list[int]()
    log.set_until(1)
    first, second = now_us(), now_us() + 1
    store = Parts(forgetting(u=first, v=second), log=log)
    compact(values, store, storage, step=lambda: steps.append(1))  # type: ignore[arg-type]
    assert users(log) == [{"w"}] * NUM_FILES
    assert store.until == [1, 1], "who reads the log meanwhile may find them, and it does not say that they are gone"
    assert (log.until_us, log.folder.exists(REMOVING)) == (second, False)
    assert len(steps) < 3 * NUM_FILES, "a step before each file is written, and one after it"


def test_who_is_forgotten_stays_noted_where_a_compaction_is_interrupted(values: EventsConfig, storage: Folder) -> None:
    log, at = filled(storage), now_us()
    store = Parts(forgetting(u=at, v=at + 1), fails_after=1)
    with pytest.raises(StoreUnavailable):
        compact(values, store, storage)  # type: ignore[arg-type]
    assert store.done_parts == ["0-u"] and log.until_us == 0
    compact(values, Parts([]), storage)  # type: ignore[arg-type]
    assert users(log) == [{"v", "w"}] * NUM_FILES
    assert log.until_us == at


class Killed(BaseException):
    """The process is ended."""


def dying_after(num_steps: int) -> Any:
    left = iter(range(num_steps))

    def step() -> None:
        if next(left, None) is None:
            raise Killed

    return step


def test_a_removal_goes_on_where_it_was_interrupted(
    values: EventsConfig, storage: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(removal, "NOTED", 2)
    log = filled(storage)
    cut = Path(log.folder.path, log.files()[1])
    content = cut.read_bytes()
    cut.write_bytes(content[:-30])
    with pytest.raises(Killed):
        compact(values, Parts(forgetting(u=now_us())), storage, step=dying_after(NUM_FILES + 2))  # type: ignore[arg-type]
    after = Removing.of(log).after
    assert log.files()[2] < after < log.files()[-1]
    cut.write_bytes(content)
    done = Path(log.folder.path, log.files()[2])
    done.write_bytes(b"it is not read again")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        compact(values, Parts([]), storage)  # type: ignore[arg-type]
    assert caplog.text == ""
    done.unlink()
    assert users(log) == [{"v", "w"}] * (NUM_FILES - 1), "also of the file that was damaged, and is restored"
    assert not log.folder.exists(REMOVING)


def test_only_the_columns_that_say_who_it_is_are_read(
    values: EventsConfig, storage: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """A file of other users, damaged elsewhere, was named as one that may have the user."""
    log = filled(storage)
    file = Path(log.folder.path, log.files()[0])
    columns = pq.read_metadata(file).row_group(0)
    column = next(columns.column(n) for n in range(columns.num_columns) if columns.column(n).path_in_schema == "time")
    with file.open("r+b") as opened:
        opened.seek(column.data_page_offset)
        opened.write(b"\xff" * 20)
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        log.read(log.files()[0])
    compact(values, Parts(forgetting(nobody=now_us())), storage)  # type: ignore[arg-type]
    assert "left out" not in caplog.text


def requests(caplog: pytest.LogCaptureFixture, method: str, name: str) -> int:
    """How many requests for an object the S3 of this process has answered."""
    return sum(f"{method} /" in line and name in line for line in caplog.messages)


def test_a_file_is_opened_once_on_an_object_store(
    values: EventsConfig, bucket: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    log = filled(bucket, 4)
    caplog.set_level(logging.INFO, "werkzeug")
    compact(values, Parts(forgetting(nobody=now_us())), bucket)  # type: ignore[arg-type]
    assert requests(caplog, "GET", "part-03.parquet") == 2, "the end of the file, and the columns"
    assert requests(caplog, "HEAD", "part-03.parquet") == 1
    assert len(log.files()) == 4
