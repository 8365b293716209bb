"""Logs that are gone, shorter or damaged when they are read again, or whose storage is silent: one line says so."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.folders import Folder
from data.dataset import preparation
from data.sources.event_log import decisions
from data.sources.event_log.files import DamagedEvents, EventLog
from data.sources.event_log.raw import event_blocks, skipped_blocks
from data.sources.schema import DataError
from data.sources.survey import Survey, survey
from tests.data.dataset.test_event_log import DAY, LATER, answer, event, rows, storage
from tests.data.dataset.test_preparation import MAPPING, prepared

__all__ = ["storage"]

LOG = pa.table({"user_id": [*"aabbccdd"], "item_id": [*"xyzwxyzw"], "time": list(range(8))})
GONE = "was read once, and then not again: "


def without_times(log: Path) -> None:
    pq.write_table(LOG.set_column(2, "time", pa.array([None] * 8, pa.int64())), log)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda log: log.write_bytes(b"PAR1 damaged"), r"log\.parquet: cannot be read \("),
        (lambda log: pq.write_table(LOG, log, row_group_size=8), r"log\.parquet: was changed while it was read"),
        (lambda log: pq.write_table(LOG.drop(["time"]), log), r"log\.parquet: was changed while it was read"),
        (without_times, "it was changed while it was read: prepare it anew"),
    ],
)
def test_a_log_that_cannot_be_read_again_is_refused_in_one_line(
    ray_session: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Path], Any],
    message: str,
) -> None:
    log = tmp_path / "log.parquet"
    pq.write_table(LOG, log, row_group_size=4)

    def then_changed(*of: Any) -> Survey:
        found = survey(*of)
        change(log)
        return found

    monkeypatch.setattr(preparation, "survey", then_changed)
    with pytest.raises(DataError, match=GONE + ".*" + message):
        prepared(tmp_path, [*MAPPING, f"data.source.interactions={log}"])
    assert "Traceback" not in "".join(capfd.readouterr())
    assert not [*tmp_path.glob("var/datasets/mine-*")]


def test_a_storage_that_does_not_answer_is_told_from_a_damaged_file(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who read that the file is damaged, and should be removed, would have lost its events."""
    read, failures = EventLog.read, [DamagedEvents("cannot be read")]

    def failing(*of: Any) -> pa.Table:
        if failures:
            raise failures.pop()
        return read(*of)

    def silent(*of: Any) -> bytes:
        raise OSError("AWS Error SLOW_DOWN")

    monkeypatch.setattr(EventLog, "read", failing)
    assert [len(block) for block in event_blocks(storage.path, DAY, LATER, [])] == [5, 0], "it failed once"
    failures += [DamagedEvents("cannot be read")]
    monkeypatch.setattr(Folder, "read_bytes", silent)
    with pytest.raises(DataError, match=r"part-1\.parquet: the storage does not answer \(AWS .*\): run it again"):
        list(event_blocks(storage.path, DAY, LATER, []))


def test_a_day_that_is_deleted_while_its_answers_are_read_is_left_out(storage: Folder) -> None:
    log = decisions.DecisionLog.of(storage)
    shown = pa.Table.from_pylist([answer("5", "ab")], schema=decisions.SCHEMA)
    log.folder.write_table(f".hours/{DAY}T10/a.parquet", shown)
    log.compact(datetime(2026, 2, 1, tzinfo=UTC))
    EventLog.of(storage).write("part-3", [event("x", "b", 9, request_id="5")])
    more = storage.path, DAY, LATER, [], ["impression"], "skipped"
    assert {row[0] for row in rows(*skipped_blocks(*more))} == {"u", "v", "x"}
    blocks = skipped_blocks(*more)
    read = [next(blocks)]
    log.drop_before(datetime(2026, 2, 1, tzinfo=UTC))
    assert {row[0] for row in rows(*read, *blocks)} == {"u", "v"}
    log.folder.write_bytes(log.compacted(f"{DAY}T09"), b"damaged")
    with pytest.raises(
        DataError, match=r"09\.parquet: cannot be read as decisions .*run it again, and remove the file"
    ):
        list(skipped_blocks(*more))
