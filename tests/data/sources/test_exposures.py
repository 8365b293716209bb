"""Exposures of forgotten users go from all runs, also where they come late, and all others stay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.artifacts.leases import ALONE
from data.sources.event_log.exposures import SCHEMA, Position, compact, exposure_files, forget
from data.sources.event_log.forgetting import FORGOTTEN

NOW = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)


def us(hour: int, minute: int = 0) -> int:
    return int(datetime(2026, 1, 31, hour, minute, tzinfo=UTC).timestamp() * 1_000_000)


def shown(*rows: tuple[str, str | None, int]) -> pa.Table:
    """Exposures of these request ids, users and times."""
    row = {"experiment": "e", "variant": "b", "release_id": "b", "degraded": False, "failed": False, "took_ms": 1.0}
    values = [row | {"request_id": id_, "user": user, "time": at, "item_ids": ["a"]} for id_, user, at in rows]
    return pa.Table.from_pylist(values, schema=SCHEMA)


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    """A run with an hour that is over and an open one, another run, and a file of an earlier version."""
    storage = Folder.of(str(tmp_path))
    folder = storage / "exposures" / "canary"
    folder.write_table("run1/2026-01-31T10/a.parquet", shown(("1", "u", us(10)), ("2", None, us(10, 1))))
    folder.write_table("run1/2026-01-31T10/b.parquet", shown(("3", "v", us(10, 2)), ("4", "u", us(10, 3))))
    folder.write_table("run1/2026-01-31T12/a.parquet", shown(("5", "u", us(12)), ("6", "u", us(12, 20))))
    folder.write_table("run2/2026-01-31T11/a.parquet", shown(("7", "u", us(11)), ("8", "v", us(11))))
    folder.write_table("a-1.parquet", shown(("9", "u", us(9)), ("10", "v", us(9))))
    return storage


def ids(storage: Folder) -> list[int]:
    folder = storage / "exposures" / "canary"
    read = [exposure_files(folder).read_files([name for name in folder.names() if name.endswith(".parquet")])]
    for run in map(exposure_files, folder.subfolders()):
        read += [run.read_hour(hour) for hour in run.hours()]
    return sorted(int(id_) for each in read for id_ in each.table["request_id"].to_pylist())


@pytest.mark.parametrize("is_compacted", [False, True])
def test_exposures_of_before_a_user_was_forgotten_go(storage: Folder, is_compacted: bool) -> None:
    run = exposure_files(storage / "exposures" / "canary" / "run1")
    if is_compacted:
        assert run.compact(NOW) == ["2026-01-31T10"]
    assert forget(storage, {"u": us(12, 10)}, NOW, ALONE) == 5
    assert ids(storage) == [2, 3, 6, 8, 10]
    late = shown(("11", "u", us(12, 9)), ("12", "u", us(12, 11)))
    run.folder.write_table("2026-01-31T12/late.parquet", late)
    assert forget(storage, {}, NOW, ALONE) == 1, "a replica wrote it after that"
    assert run.compact(NOW) == ([] if is_compacted else ["2026-01-31T10"])
    assert ids(storage) == [2, 3, 6, 8, 10, 12]
    assert forget(storage, {}, NOW + timedelta(hours=2), ALONE) == 0
    assert (storage / "exposures").read_json(FORGOTTEN) == {"u": us(12, 10)}


def test_the_hours_of_all_runs_are_compacted_without_what_has_come_late_of_a_forgotten_user(storage: Folder) -> None:
    later = NOW + timedelta(days=9)
    forget(storage, {"u": us(12, 10)}, NOW, ALONE)
    late = shown(("11", "u", us(12, 9)), ("12", "u", us(12, 11)))
    (storage / "exposures" / "canary").write_table("run2/2026-01-31T12/late.parquet", late)
    runs = [exposure_files(run) for run in (storage / "exposures" / "canary").subfolders()]
    assert not compact(storage, later, ALONE, within_s=-1)
    assert [bool(run.open_hours()) for run in runs] == [False, True], "no time is left to begin another one"
    assert compact(storage, later, ALONE)
    assert ids(storage) == [2, 3, 6, 8, 10, 12]
    assert [run.open_hours() for run in runs] == [[], []]


def test_files_that_a_dead_compaction_has_left_are_cleared_too(storage: Folder) -> None:
    run = exposure_files(storage / "exposures" / "canary" / "run1")
    left = run.folder.read_table("2026-01-31T10/b.parquet")
    run.compact(NOW)
    run.folder.write_table("2026-01-31T10/b.parquet", left)  # it is in the compacted file, and was not deleted yet
    forget(storage, {"u": us(12, 10)}, NOW, ALONE)
    assert run.folder.read_table("2026-01-31T10/b.parquet")["request_id"].to_pylist() == ["3"]
    assert ids(storage) == [2, 3, 6, 8, 10], "each once"


def test_a_compaction_goes_on_with_the_run_after_the_last_one(storage: Folder) -> None:
    """It began with the first run each time, and never came to the last ones where there were many."""
    canary, position = storage / "exposures" / "canary", Position()
    (storage / "exposures" / "split").write_table("run0/2026-01-31T10/a.parquet", shown(("13", "w", us(10))))
    places = [canary / "run1", canary / "run2", storage / "exposures" / "split" / "run0"]
    runs, later = [exposure_files(place) for place in places], NOW + timedelta(days=9)
    found = []
    for _ in runs:
        is_done = compact(storage, later, ALONE, -1, position)
        found.append((is_done, [len(run.open_hours()) for run in runs]))
    assert found == [(False, [0, 1, 1]), (False, [0, 0, 1]), (True, [0, 0, 0])]
    assert position.after == ()


def test_a_run_that_cannot_be_compacted_keeps_no_other_from_it(storage: Folder) -> None:
    canary, position, later = storage / "exposures" / "canary", Position(), NOW + timedelta(days=9)
    cut = exposure_files(canary / "run1")
    assert cut.compact(NOW)
    with Path(cut.folder.path, "2026-01-31T10.parquet").open("r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 40)  # its end is whole
    cut.folder.write_table("2026-01-31T10/late.parquet", shown(("14", "w", us(10))))
    with pytest.raises(OSError):
        compact(storage, later, ALONE, position=position)
    assert compact(storage, later, ALONE, position=position)
    assert exposure_files(canary / "run2").open_hours() == []
