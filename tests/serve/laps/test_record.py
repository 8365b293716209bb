"""The record of a lap: an interrupted one goes on, with what it has done."""

from functools import partial
from pathlib import Path

import pytest

from data.artifacts import leases
from data.artifacts.folders import Folder
from data.artifacts.leases import LeaseLost
from data.artifacts.seals import NotSealed
from data.sources.schema import DataError
from serve.index.protocol import CollectionMissing, IndexUnavailable
from serve.laps.config import LapStopped
from serve.laps.record import TRIES, LapRecord, may_go_on
from serve.releases.audit.approvals import NeedsApproval
from serve.releases.release import ReleaseError
from towers.training.epochs.finite import NotFinite


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


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (IndexUnavailable("Milvus does not answer"), True),
        (NeedsApproval("waits for a second operator"), True),
        (OSError("the storage does not answer"), True),
        (RuntimeError("a worker was killed"), True),
        (LeaseLost("another process goes on"), True),
        (NotFinite("step 3: the loss is not finite"), False),
        (FloatingPointError("a stage gives values that are not finite"), False),
        (ReleaseError("no room for the release"), False),
        (DataError("the log cannot be used"), False),
        (CollectionMissing("there is no collection"), False),
        (NotSealed("no checkpoint there"), False),
        (LapStopped("drift"), False),
    ],
)
def test_a_lap_goes_on_after_what_may_pass_and_not_after_what_would_come_again(error: Exception, goes_on: bool) -> None:
    assert may_go_on(error) is goes_on


def test_a_lap_that_comes_no_step_further_is_given_up(tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    LapRecord.open(storage, "values").step("dataset", lambda: "a")
    for _ in range(TRIES):
        again = LapRecord.open(storage, "values")
        assert again.steps == {"dataset": "a"}
    last = LapRecord.unfinished(storage)
    assert last is not None
    assert last.why_given_up("values", resume=True) == f"{TRIES} commands in a row have come no step further"
    last.step("train", lambda: "b")
    assert last.why_given_up("values", resume=True) is None, "a step is done"
    assert last.why_given_up("values", resume=False) == "cycle.resume is false"
    assert last.why_given_up("others", resume=True) == "values of the config are others now"


def test_what_a_step_notes_before_it_fails_is_no_step_done(tmp_path: Path) -> None:
    """As a trial that is noted before it begins, or a release with which the gate compares again and again."""
    storage = Folder.of(str(tmp_path))

    def fails(record: LapRecord) -> None:
        record.note("canary", {"since": "now"})
        raise OSError("the replicas do not answer")

    LapRecord.open(storage, "values").step("dataset", lambda: "a")
    for _ in range(TRIES):
        again = LapRecord.open(storage, "values")
        with pytest.raises(OSError, match="do not answer"):
            again.step("trial", partial(fails, again))
    last = LapRecord.unfinished(storage)
    assert last is not None
    assert last.why_given_up("values", resume=True) == f"{TRIES} commands in a row have come no step further"
