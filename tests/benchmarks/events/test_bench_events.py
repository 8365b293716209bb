"""The benchmark of events runs in a short form, and its check of the event log finds what is lost and doubled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.machine import MachineLacks, wrk_command
from data.sources.event_log.files import EventLog
from tests.benchmarks.events.killed import checked, ids_of, kill_again_and_again
from tests.reporting.skipping import skip

REPOSITORY = Path(__file__).parents[3]

SHORT = "seconds=1", "rounds=1", "items=2000", "asked=5", "events=2000", "kills=2"


def test_no_event_is_lost_when_processes_are_killed(tmp_path: Path) -> None:
    config = load([f"events.path={tmp_path}/events.sqlite"]).events
    counted = kill_again_and_again(config, tmp_path / "root", num_events=1000, kills=3)
    assert counted == {"kills": 3, "accepted": 1000, "lost": 0, "doubled": 0}


def test_the_check_finds_what_is_lost_and_doubled(tmp_path: Path) -> None:
    log = EventLog.of(Folder.of(str(tmp_path)))
    for part, ids in (("a", [*ids_of(0), *ids_of(1)[:-2]]), ("b", ids_of(0)[:3])):
        log.write(part, [{"event_id": id_, "user_id": "u", "item_id": "i", "type": "click", "time": 1, "received": 1,
                          "context": {}} for id_ in ids])  # fmt: skip
    assert checked([0, 1], tmp_path) == {"accepted": 100, "lost": 2, "doubled": 3}


@pytest.mark.slow
def test_the_short_form(tmp_path: Path) -> None:
    try:
        wrk_command()
    except MachineLacks as e:
        skip(str(e), "apt-get install wrk, then the same again")
    command = [sys.executable, "-m", "tests.benchmarks.events.bench_events", *SHORT]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    found = json.loads((tmp_path / "var/bench/events.json").read_text())
    assert (found["lost"], found["doubled"]) == (0, 0)
    stores = [name.removeprefix("accept_ratio_") for name in found if name.startswith("accept_ratio_")]
    for store in stores:
        assert found[f"accept_ratio_{store}"] > 0
        assert 0 < found[f"event_to_answer_p50_ms_{store}"] <= found[f"event_to_answer_p99_ms_{store}"]
    assert all(found[f"{name}throughput_ratio"] > 0 for name in ("", "decisions_", "both_"))
    assert "embedded" in stores
