"""The recorder of decisions: candidates in their order, releases apart, a share by request id, and what is dropped."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.sources.event_log.decisions import DecisionLog
from serve.events.decisions import recorder as recorder_module
from serve.events.decisions.config import DecisionsConfig
from serve.events.decisions.recorder import PART, DecisionRecorder
from serve.experiments.assignment import Assignment, Experiment
from serve.experiments.exposure_files import ExposureRun
from serve.experiments.exposures import ExposureLog
from serve.pipeline.messages import Ranked, Response
from serve.pipeline.source import Source


def answer(rows: list[int], found: list[int] | None, release_id: str = "r") -> Response:
    ranked = None if found is None else Ranked(release_id, np.array(found), np.array(found, dtype=np.float32) / 10)
    return Response(release_id, rows, [row / 10 for row in rows], Source.towers, False, [], {}, found=ranked)


def ids(rows: np.ndarray) -> pa.Array:
    return pa.array([f"i{row}" for row in rows.tolist()])


def other_ids(rows: np.ndarray) -> pa.Array:
    return pa.array([f"other{row}" for row in rows.tolist()])


def read(storage: Folder) -> list[dict[str, object]]:
    log = DecisionLog.of(storage)
    rows = [row for hour in log.hours() for row in log.read_hour(hour).table.to_pylist()]
    return sorted(rows, key=lambda row: row["request_id"])


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


async def test_what_was_shown_comes_first_and_each_release_has_its_own_ids(storage: Folder) -> None:
    recorder = DecisionRecorder(DecisionsConfig(every_s=60), storage, "replica")
    recorder.add(answer([3, 1], [3, 1, 2]), ids, "a", 1.5, user_id="u", context={"daypart": "evening"})
    recorder.add(answer([1, 9, 8], [1]), ids, "b", 1.5)
    recorder.add(answer([4], None, "s"), other_ids, "c", 1.5, kind="similar", experiment="e", variant="s")
    recorder.add(answer([], None), ids, "d", 1.5)
    await recorder.flush()
    assert read(storage) == [], "not yet"
    await recorder.flush(at_once=True)
    a, b, c, d = read(storage)
    assert (a["item_ids"], a["num_shown"], a["release_id"]) == (["i3", "i1", "i2"], 2, "r")
    assert a["scores"] == pytest.approx([0.3, 0.1, 0.2])
    assert (b["item_ids"], b["num_shown"], b["user"], b["context"]) == (["i1", "i9", "i8"], 3, None, [])
    assert (c["item_ids"], c["kind"], c["experiment"], c["variant"]) == (["other4"], "similar", "e", "s")
    assert (d["item_ids"], d["num_shown"]) == ([], 0)


async def test_many_are_written_in_parts_as_one_file_and_a_stop_waits_for_no_pause(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "PAUSES", 1e6)
    recorder = DecisionRecorder(DecisionsConfig(every_s=1e-9), storage, "replica")
    for number in range(3 * PART):
        recorder.add(answer([number], [number, 1]), ids, f"{number:04}", 1.0)
    writing = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0.5)
    assert not writing.done(), "it pauses"
    recorder.add(answer([7], [7, 1]), ids, "last", 1.0)
    await asyncio.wait_for(asyncio.gather(recorder.flush(at_once=True), writing), 20)
    assert [row["item_ids"] for row in read(storage)] == [[f"i{n}", "i1"] for n in (*range(3 * PART), 7)]
    log = DecisionLog.of(storage)
    assert len(log.read_hour(log.hours()[0]).files) == 2


async def test_a_share_is_decided_by_the_request_id(storage: Folder) -> None:
    for replica in ("x", "y"):
        recorder = DecisionRecorder(DecisionsConfig(share=0.25), storage, replica)
        for number in range(400):
            recorder.add(answer([1], [1]), ids, f"{number:03}", 1.0)
        await recorder.flush(at_once=True)
    chosen = [row["request_id"] for row in read(storage)]
    assert 60 < len(set(chosen)) < 140
    assert len(chosen) == 2 * len(set(chosen)), "both replicas chose the same ones"


async def test_the_best_candidates_are_kept_and_all_that_was_shown(storage: Folder) -> None:
    recorder = DecisionRecorder(DecisionsConfig(max_candidates=2, every_s=60), storage, "replica")
    recorder.add(answer([5], [5, 4, 3, 2]), ids, "a", 1.0)
    recorder.add(answer([5, 4, 3], [5, 4, 3, 2]), ids, "b", 1.0)
    await recorder.flush(at_once=True)
    assert [row["item_ids"] for row in read(storage)] == [["i5", "i4"], ["i5", "i4", "i3"]]


async def test_what_is_dropped_is_counted_and_what_fails_is_tried_again(storage: Folder) -> None:
    recorder = DecisionRecorder(DecisionsConfig(max_waiting=2, every_s=60), storage, "replica")
    Path(storage.path, "decisions").write_text("a file where the folder should be")
    for number in range(5):
        recorder.add(answer([1], [1]), ids, str(number), 1.0)
    await recorder.flush(at_once=True)
    assert recorder.take_lost() == 3
    Path(storage.path, "decisions").unlink()
    await recorder.flush(at_once=True)
    assert recorder.take_lost() == 0
    assert [row["request_id"] for row in read(storage)] == ["0", "1"]


async def test_a_write_that_reached_the_storage_and_failed_all_the_same_is_counted_once(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, exposures = DecisionRecorder(DecisionsConfig(every_s=60), storage, "a"), ExposureLog(storage, "a")
    write, experiment = Folder.write_tables, Experiment("canary", {"b": 0.5}, "2026-01-31T09:05:00.250+00:00")

    def answered_late(*arguments: Any, **options: Any) -> None:
        write(*arguments, **options)
        raise OSError("timeout")

    for request_id in ("1", "2"):
        monkeypatch.setattr(Folder, "write_tables", answered_late if request_id == "1" else write)
        recorder.add(answer([1], [1]), ids, request_id, 1.0)
        exposures.add_failure(Assignment(experiment, "b"), "b", "u", request_id, 1.0)
        await recorder.flush(at_once=True)
        await exposures.flush(at_once=True)
    assert [row["request_id"] for row in read(storage)] == ["1", "2"]
    assert sorted(ExposureRun.of(storage, experiment).read().table["request_id"].to_pylist()) == ["1", "2"]
