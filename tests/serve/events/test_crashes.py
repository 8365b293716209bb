"""SIGKILL at each point of accepting, updating states and compacting: no accepted event is lost, and none doubled.

A sample of the points; CRASHES=all dies at every one of them.
"""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from serve.events.compaction import compact
from serve.events.config import EventsConfig
from serve.events.event import MICROS, Event
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event, now_us
from tests.serve.events.crashing_process import Points, work

EVERY = 1 if os.environ.get("CRASHES") == "all" else 61


def made() -> list[Event]:
    """Of two users, on two days, one of them to be forgotten."""
    base = now_us()
    return [
        event(str(n), user_id="gone" if n % 4 == 0 else "u", item_id=str(n), time_us=base - n * 7 * 3600 * MICROS)
        for n in range(24)
    ]


def crashed(config: EventsConfig, storage: Folder, events: Sequence[Event], fatal: int) -> tuple[dict[str, Any], int]:
    """What the child said before it died at the point, and the signal; it says how many points there are."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        points = Points(fatal)
        status = 1
        try:
            work(config, storage, events, points, lambda *said: os.write(writing, json.dumps(said).encode() + b"\n"))
            os.write(writing, json.dumps(("points", points.passed)).encode() + b"\n")
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = [json.loads(line) for line in pipe if line.endswith("\n")]
    _, status = os.waitpid(child, 0)
    said: dict[str, Any] = {"accepted": [id_ for name, ids in lines if name == "accepted" for id_ in ids]}
    return said | {name: value for name, value in lines if name != "accepted"}, status


def test_killed_at_any_point(tmp_path: Path) -> None:
    events = made()
    said, status = crashed(config(path=str(tmp_path / "whole.sqlite")), Folder.of(str(tmp_path / "whole")), events, 0)
    assert (status, len(said["accepted"])) == (0, 24)
    num_points, died = said["points"], 0
    assert num_points > 150
    for fatal in range(1, num_points, EVERY):
        values, root = config(path=str(tmp_path / f"{fatal}.sqlite")), tmp_path / str(fatal)
        said, status = crashed(values, Folder.of(str(root)), events, fatal)
        assert os.WTERMSIG(status) == signal.SIGKILL
        died += 1
        store = SqliteStore(values)
        compact(values, store, Folder.of(str(root)))
        check(root, said["accepted"], events, is_whole=False, is_forgotten="forgotten" in said)
        store.append(events)  # as a sender does that has had no answer
        compact(values, store, Folder.of(str(root)))
        check(root, said["accepted"], events, is_whole=True, is_forgotten="forgotten" in said)
        (state,) = store.read(["u"])
        wanted = [e.item_id for e in sorted(events, key=lambda e: e.time_us) if e.user_id == "u"]
        assert [happening.item_id for happening in state.events] == wanted, fatal
        store.close()
    assert died > 4


def check(root: Path, accepted: Sequence[str], events: Sequence[Event], is_whole: bool, is_forgotten: bool) -> None:
    """Reads what any other engine would read of the log."""
    dataset = pads.dataset(root / "events", partitioning="hive") if (root / "events").exists() else None
    ids = dataset.to_table(columns=["event_id"])["event_id"].to_pylist() if dataset and dataset.files else []
    assert len(ids) == len(set(ids)), "doubled"
    of_gone = {event.event_id for event in events if event.user_id == "gone"}
    wanted = set(accepted) if not is_whole else {event.event_id for event in events}
    assert wanted - of_gone <= set(ids), "lost"
    assert not (is_forgotten and of_gone & set(ids)), "a forgotten user is back"
