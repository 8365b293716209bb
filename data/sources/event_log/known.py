"""Which events of a part the event log has already, as where the store was restored from a copy of some time ago.

A store that goes back to a copy has events again that were compacted since, and gives them out in other parts,
under other names. An event is the same where its id and the time of its acceptance are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.artifacts.records.hourly_files import ENDING
from data.artifacts.records.json_files import left_out
from data.sources.event_log.files import SCHEMA, DamagedEvents, EventLog

SAME = ["event_id", "received"]
"""The columns by which events are the same."""


def not_logged(log: EventLog, part: str, events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The events of a part that are in no other part of the log.

    No file is read unless some were accepted before the time until which the log is complete, which is not so where a
    store goes on from where it was.

    Args:
        part: The name of the part. What was written under it, before a crash, is written again.
        events: JSON values by the names of `data.sources.event_log.files.SCHEMA`.

    Raises:
        OSError: The storage does not answer.
        DataError: A file is of another version.
        DamagedFile: It is not known until when the log is complete.
    """
    if not events or min(int(event["received"]) for event in events) > log.until_us:
        return events
    table = pa.Table.from_pylist([dict(event) for event in events], schema=SCHEMA)
    days = pc.unique(pc.strftime(table["time"], format="%Y-%m-%d")).to_pylist()
    files = [file for day in days for file in log.files_of(day) if not file.endswith(f"/{part}{ENDING}")]
    known = pa.chunked_array([chunk for file in files for chunk in _same(_read(log, file)).chunks], pa.string())
    is_new = pc.invert(pc.is_in(_same(table), value_set=known.combine_chunks()))
    return [event for event, new in zip(events, is_new.to_pylist(), strict=True) if new]


def _same(table: pa.Table) -> pa.ChunkedArray:
    """What tells each event of a table from others."""
    received = table["received"].cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(table["event_id"], received, "\0")


def _read(log: EventLog, file: str) -> pa.Table:
    """The columns of a file; no rows of one that is damaged, which is named."""
    try:
        return log.read(file, SAME)
    except DamagedEvents as e:
        log.folder.read_bytes(file)  # raises OSError where it is the storage that does not answer
        left_out(f"{e}. Events that a restored store gives out again may be in it, and are written once more")
        return SCHEMA.empty_table().select(SAME)
