"""The states of input files: on an object store by one listing of each folder, and the same as file by file."""

import logging
import os
from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from data.dataset.inputs import FEW, input_states
from data.sources.event_log.files import EventLog
from data.sources.events import EventLogSource
from tests.data.dataset.test_event_log import event

DAYS = 2


def written(storage: Folder, num_parts: int) -> EventLog:
    log = EventLog.of(storage)
    for number in range(num_parts):
        log.write(f"part-{number}", [event("u", "a", day * 86_400) for day in range(DAYS)])
    return log


def test_the_files_of_an_event_log_are_listed_day_by_day(bucket: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """Each was asked for by a connection of its own, one after the other, whenever a log was prepared."""
    written(bucket, FEW + 1)
    source = EventLogSource(root=bucket.uri, context=[])
    files = source.files()
    one_by_one = [input_states([file])[0] for file in files]
    caplog.set_level(logging.INFO, "werkzeug")
    found = input_states([files[-1], *files, bucket.uri.replace("/root?", "/root/none?")])
    assert found[:-1] == [one_by_one[-1], *one_by_one] and found[-1][1:] == [None, None]
    assert len(files) == DAYS * (FEW + 1) and all(size > 0 and at_ns > 0 for _, size, at_ns in one_by_one)
    assert not [line for line in caplog.messages if "HEAD /" in line and "part-" in line]
    assert sum("list-type=2" in line and "/events/date" in line for line in caplog.messages) == DAYS


def test_a_file_that_is_gone_from_a_listed_folder_has_no_state(bucket: Folder) -> None:
    log = written(bucket, FEW + 1)
    files = EventLogSource(root=bucket.uri, context=[]).files()
    log.folder.delete_file(log.files()[0])
    assert [size is None for _, size, _ in input_states(files)] == [True] + [False] * (len(files) - 1)


def test_files_of_a_disk_have_their_time_to_the_nanosecond(tmp_path: Path) -> None:
    (tmp_path / "a b%20.csv").write_text("12")
    os.utime(tmp_path / "a b%20.csv", ns=(0, 1_700_000_000_123_456_789))
    paths = [str(tmp_path / "a b%20.csv"), str(tmp_path / "none.csv")]
    assert input_states(paths) == [[paths[0], 2, 1_700_000_000_123_456_789], [paths[1], None, None]]
