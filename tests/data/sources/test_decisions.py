"""The decision log: hours become one file by date, forgotten users go, also where their decisions come late."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from data.artifacts.folders import Folder
from data.sources.event_log.decisions import SCHEMA, DecisionLog
from data.sources.event_log.forgetting import FORGOTTEN

NOW = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)


def us(hour: int, minute: int = 0) -> int:
    return int(datetime(2026, 1, 31, hour, minute, tzinfo=UTC).timestamp() * 1_000_000)


def decided(*rows: tuple[str, str | None, int]) -> pa.Table:
    """Decisions of these request ids, users and times."""
    values = [
        {"request_id": id_, "user": user, "time": at, "item_ids": ["a", "b"], "scores": [1.0, 0.5], "num_shown": 1}
        for id_, user, at in rows
    ]
    return pa.Table.from_pylist(values, schema=SCHEMA)


@pytest.fixture
def log(tmp_path: Path) -> DecisionLog:
    log = DecisionLog.of(Folder.of(str(tmp_path)))
    log.folder.write_table(".hours/2026-01-31T10/a.parquet", decided(("1", "u", us(10)), ("2", None, us(10, 1))))
    log.folder.write_table(".hours/2026-01-31T10/b.parquet", decided(("3", "v", us(10, 2))))
    log.folder.write_table(".hours/2026-01-31T12/a.parquet", decided(("4", "u", us(12)), ("5", "u", us(12, 20))))
    return log


def ids(log: DecisionLog) -> list[str]:
    return sorted(id_ for hour in log.hours() for id_ in log.read_hour(hour).table["request_id"].to_pylist())


def test_an_hour_that_is_over_is_one_file_of_its_date_for_any_engine(log: DecisionLog) -> None:
    assert log.compact(NOW) == ["2026-01-31T10"]
    assert log.hours() == ["2026-01-31T10", "2026-01-31T12"]
    assert ids(log) == ["1", "2", "3", "4", "5"]
    others = ds.dataset(log.folder.path, format="parquet", partitioning="hive").to_table()
    assert sorted(others["request_id"].to_pylist()) == ["1", "2", "3"]
    assert set(others["date"].to_pylist()) == {"2026-01-31"}
    log.folder.write_table(".hours/2026-01-31T10/late.parquet", decided(("6", "w", us(10, 3))))
    assert log.compact(NOW) == ["2026-01-31T10"]
    assert ids(log) == ["1", "2", "3", "4", "5", "6"]
    assert log.folder.files() == [".hours/2026-01-31T12/a.parquet", "date=2026-01-31/10.parquet"]


@pytest.mark.parametrize("is_compacted", [False, True])
def test_decisions_of_before_a_user_was_forgotten_go(log: DecisionLog, is_compacted: bool) -> None:
    if is_compacted:
        log.compact(NOW)
    assert log.forget({"u": us(12, 10)}, NOW) == 2
    assert ids(log) == ["2", "3", "5"]
    log.folder.write_table(".hours/2026-01-31T12/late.parquet", decided(("7", "u", us(12, 9)), ("8", "u", us(12, 11))))
    assert log.forget({}, NOW) == 1, "a replica wrote it after that"
    assert ids(log) == ["2", "3", "5", "8"]
    log.compact(NOW)
    assert ids(log) == ["2", "3", "5", "8"]
    assert log.forget({}, NOW + timedelta(hours=2)) == 0
    assert log.folder.read_json(FORGOTTEN) == {"u": us(12, 10)}


@pytest.mark.parametrize("hour", ["2026-01-31T10", "2026-02-09T07"])
def test_decisions_of_before_a_user_was_forgotten_go_however_late_they_come(log: DecisionLog, hour: str) -> None:
    """A replica that the storage did not take them from for days writes them into the hour of its first attempt."""
    log.compact(NOW)
    log.forget({"u": us(12, 10)}, NOW)
    later = NOW + timedelta(days=9)
    log.forget({"w": us(9)}, later)
    late = decided(("6", "u", us(12, 9)), ("7", None, us(12, 9)), ("8", "u", us(12, 11)), ("9", "x", us(8)))
    log.folder.write_table(f".hours/{hour}/late.parquet", late)
    log.forget({}, later)
    assert hour in log.compact(later)
    assert ids(log) == ["2", "3", "5", "7", "8", "9"]


def test_a_damaged_file_is_named_and_stays(log: DecisionLog) -> None:
    Path(log.folder.path, ".hours", "2026-01-31T10", "cut.parquet").write_bytes(b"PAR1")
    assert log.forget({"u": us(13)}, NOW) == 3
    log.compact(NOW)
    read = log.read_hour("2026-01-31T10")
    assert read.table["request_id"].to_pylist() == ["2", "3"]
    (damaged,) = read.damaged
    assert "cut.parquet: left out, because it cannot be read as decisions" in damaged


def test_old_dates_go_with_what_could_not_be_compacted(log: DecisionLog) -> None:
    Path(log.folder.path, ".hours", "2026-01-31T10", "cut.parquet").write_bytes(b"PAR1")
    log.compact(NOW)
    log.folder.write_table(".hours/2026-02-01T00/a.parquet", decided(("6", "u", us(23))))
    log.drop_before(NOW)
    assert log.hours() == ["2026-01-31T10", "2026-01-31T12", "2026-02-01T00"]
    log.drop_before(NOW + timedelta(days=1))
    assert (log.hours(), log.folder.files()) == (["2026-02-01T00"], [".hours/2026-02-01T00/a.parquet"])
