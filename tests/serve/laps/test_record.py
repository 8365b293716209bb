"""The record of a lap: an interrupted one goes on, with what it has done."""

from pathlib import Path

import pytest

from data.artifacts import leases
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost
from serve.laps.record import LapRecord


def test_an_interrupted_lap_goes_on_where_it_was(tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    first = LapRecord.open(storage, "values")
    assert first.step("dataset", lambda: "a") == "a"
    with pytest.raises(KeyboardInterrupt):
        first.step("train", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    again = LapRecord.open(storage, "values")
    assert (again.folder, again.began) == (first.folder, first.began)
    assert again.step("dataset", lambda: "b") == "a", "done before"
    assert again.step("train", lambda: "c") == "c"
    assert list(again.end("promoted")["steps"]) == ["dataset", "train"]


def test_a_lap_that_has_ended_or_had_other_values_is_not_gone_on_with(tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    first = LapRecord.open(storage, "values")
    first.step("dataset", lambda: "a")
    assert LapRecord.open(storage, "others").steps == {}
    first.end("stopped", "drift")
    assert LapRecord.open(storage, "values").steps == {}
    assert storage.subfolders()[0].subfolders()[0].read_json("lap.json")["reason"] == "drift"


def test_a_lap_that_another_process_goes_on_with_takes_no_further_step(
    bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where this one was stopped for longer than its lease."""
    steps = []
    with bucket.locked(".lap") as lock:
        record = LapRecord.open(bucket, "values", lock)
        record.step("dataset", lambda: "a")
        monkeypatch.setattr(leases, "LEASE_S", 0.0)
        with pytest.raises(LeaseLost):
            record.step("promotion", lambda: steps.append("promotion"))
        with pytest.raises(LeaseLost):
            record.end("promoted")
    assert steps == []
    assert LapRecord.open(bucket, "values").outcome is None


def test_a_record_of_a_later_version_is_read(tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    first = LapRecord.open(storage, "values")
    first.step("dataset", lambda: "a")
    first.folder.write_json("lap.json", first.as_json() | {"cost": 3})
    assert LapRecord.open(storage, "values").steps == {"dataset": "a"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"config": "values"}', b'{"folder": "x"}'])
def test_a_damaged_record_is_named_and_a_new_lap_begins(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Folder.of(str(tmp_path))
    first = LapRecord.open(storage, "values")
    first.step("dataset", lambda: "a")
    first.folder.write_bytes("lap.json", content)
    assert LapRecord.open(storage, "values").steps == {}
    assert "lap.json: not the record of a lap" in caplog.text
