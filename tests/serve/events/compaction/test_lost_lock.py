"""A compaction on an object store that was stopped for longer than its lease writes nothing when it goes on."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.artifacts import leases
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.files import EventLog
from data.sources.event_log.forgetting import FORGOTTEN, logged_user
from serve.events.compaction import LogCompactor, compact
from serve.events.config import EventsConfig
from serve.events.decisions.config import DecisionsConfig
from serve.events.decisions.upkeep import forget_decisions, keep_decisions
from serve.events.protocol import LoggedEvents
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event, now_us
from tests.data.artifacts.two_writers import interrupting


class StoppedStore(SqliteStore):
    """The process is stopped, for longer than its lease, after it has asked what is to be compacted."""

    monkeypatch: pytest.MonkeyPatch

    def part(self, max_events: int, end: int) -> LoggedEvents | None:
        found = super().part(max_events, end)
        self.monkeypatch.setattr(leases, "LEASE_S", 0.0)
        return found


@pytest.fixture
def values(tmp_path: Path) -> EventsConfig:
    return config(path=str(tmp_path / "state" / "events.sqlite"))


@pytest.fixture
def stopped(values: EventsConfig, monkeypatch: pytest.MonkeyPatch) -> StoppedStore:
    store = StoppedStore(values)
    store.monkeypatch = monkeypatch
    return store


@pytest.mark.parametrize("kind", ["events", "forgotten"])
def test_a_stopped_compaction_changes_nothing(
    values: EventsConfig, stopped: StoppedStore, bucket: Folder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog.of(bucket)
    SqliteStore(values).append([event("1")])
    if kind == "forgotten":
        compact(values, SqliteStore(values), bucket)
        SqliteStore(values).forget("u", now_us())
    before = {name: log.folder.read_bytes(name) for name in log.files()}
    with pytest.raises(LeaseLost, match="run the command again"):
        compact(values, stopped, bucket)
    assert {name: log.folder.read_bytes(name) for name in log.files()} == before
    monkeypatch.setattr(leases, "LEASE_S", 15.0)
    assert compact(values, SqliteStore(values), bucket) == (1 if kind == "events" else 0), "the part comes again"
    assert len(log.files()) == (1 if kind == "events" else 0)


def test_a_lost_lock_does_not_end_compacting(
    values: EventsConfig, bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteStore(values).append([event("1")])
    said: list[str] = []
    rounds = iter([False, True])
    monkeypatch.setattr(leases, "LEASE_S", 0.0)

    def next_round(_: float) -> bool:
        if is_last := next(rounds):
            monkeypatch.setattr(leases, "LEASE_S", 15.0)
        return is_last

    LogCompactor(values, bucket, said.append).watch(next_round)
    assert "lock" in said[0]
    assert len(EventLog.of(bucket).files()) == 1


def test_the_end_of_the_log_never_goes_back(bucket: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog.of(bucket)
    log.set_until(1)
    interrupting(monkeypatch, bucket, 2, lambda: log.set_until(3))
    log.set_until(2)
    assert log.until_us == 3


def test_a_forgotten_user_stays_forgotten_where_two_processes_meet(
    bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upkeep has read who was forgotten, and then another user is."""
    log = DecisionLog.of(bucket)
    forget_decisions(bucket, {"u": now_us()})
    interrupting(monkeypatch, bucket, 1, lambda: forget_decisions(bucket, {"v": now_us()}))
    log.forget({logged_user("w"): now_us()}, datetime.now(UTC))
    assert log.folder.read_json(FORGOTTEN).keys() == {logged_user(key) for key in "uvw"}


def test_a_stopped_upkeep_deletes_nothing(bucket: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    log = DecisionLog.of(bucket)
    log.folder.write_bytes("date=2020-01-01/00.parquet", b"old")
    monkeypatch.setattr(leases, "LEASE_S", 0.0)
    with pytest.raises(LeaseLost):
        keep_decisions(DecisionsConfig(), bucket)
    assert log.days() == ["2020-01-01"]
