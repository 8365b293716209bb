"""A compaction on an object store that was stopped for longer than its lease writes nothing when it goes on."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts import leases
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.leases import ALONE, LeaseLost, Lock
from data.artifacts.records import compacting
from data.artifacts.records.hourly_files import HourlyFiles
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.exposures import SCHEMA, forget
from data.sources.event_log.files import EventLog
from data.sources.event_log.forgetting import FORGOTTEN, logged_user
from serve.events.compaction import LogCompactor, compact
from serve.events.config import EventsConfig
from serve.events.decisions.config import DecisionsConfig
from serve.events.decisions.upkeep import forget_decisions, keep_decisions
from serve.events.protocol import LoggedEvents
from serve.events.sqlite_store import SqliteStore
from serve.experiments.assignment import Experiment
from serve.experiments.canary_analysis import GuardConfig
from serve.experiments.exposure_files import ExposureRun
from serve.releases.pointer import with_experiment
from serve.releases.registry import ReleaseRegistry
from serve.rollout.guard import CanaryGuard
from tests.conformance.events import config, event, now_us
from tests.data.artifacts.two_writers import interrupting
from tests.serve.rollout.test_guard import shown


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

    def next_round(seconds: float) -> bool:
        if not seconds:  # a step of a round
            return False
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


def test_a_stopped_guard_brings_no_forgotten_user_back(bucket: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped while it writes, by what it had read before another process removed the user's exposures."""
    registry = ReleaseRegistry.of(bucket)
    for name in ("old", "new"):
        registry.path(name).write_json(MANIFEST, {"kind": "release", "created_at": name})
    registry.promote("old")
    running = Experiment("canary-new", {"new": 0.1}, "2026-01-01T09:00:00.000+00:00")
    registry.update_pointer(lambda live: with_experiment(live, running))  # type: ignore[arg-type]
    run, file = ExposureRun.of(bucket, running), "2026-01-01T09/a-1.parquet"
    of_u = pa.array([logged_user("u")] * 7)
    run.folder.write_table(file, shown("new", 7).set_column(2, "user", of_u).cast(SCHEMA))
    read, said = compacting.rows_of, list[str]()

    def stopped(files: HourlyFiles, names: Sequence[str], lock: Lock) -> Iterator[pa.Table]:
        rows = list(read(files, names, lock))
        monkeypatch.setattr(leases, "LEASE_S", 0.0)
        forget(bucket, {logged_user("u"): now_us()}, datetime.now(UTC), ALONE)  # by who has taken the lock over
        yield from rows

    monkeypatch.setattr(compacting, "rows_of", stopped)
    CanaryGuard(GuardConfig(), bucket, said.append).check()
    assert len(said) == 1
    assert "exposures are not compacted, tried again in the next hour: lock " in said[0]
    assert run.read().table.num_rows == 0
    assert run.rows.compacted_hours() == []
