"""`events.exposure_days`: the exposures of a run are deleted once none was recorded for so many days."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.sources.schema import DataError
from serve.events import exposures
from serve.events.compaction import LogCompactor
from serve.events.config import EventsConfig
from serve.events.exposures import drop_exposures
from serve.experiments.assignment import Experiment, TrafficConfig
from serve.experiments.chosen_run import choose_run
from serve.experiments.exposure_files import ExposureRun
from tests.serve.experiments.test_exposure_files import ids, shown

OLD = Experiment("canary", {"b": 0.05}, "2026-01-31T09:05:00.250+00:00")
LATER = Experiment("canary", {"b": 0.2}, "2026-01-31T10:00:00.000+00:00")
NOW = datetime.now(UTC)


def recorded(storage: Folder, experiment: Experiment, days_ago: float, *request_ids: str) -> ExposureRun:
    run = ExposureRun.of(storage, experiment)
    run.write(experiment, f"file-{days_ago}", shown(*request_ids), NOW - timedelta(days=days_ago))
    return run


def test_the_exposures_of_a_run_go_when_none_was_recorded_for_so_many_days(tmp_path: Path) -> None:
    storage = Folder.of(str(tmp_path))
    assert drop_exposures(storage, 30) == 0, "there are none"
    old = recorded(storage, OLD, 40, "1")
    assert old.rows.compact(NOW)
    recorded(storage, OLD, 31, "2")
    recorded(storage, LATER, 40, "3")
    recorded(storage, LATER, 29, "4")
    assert drop_exposures(storage, 30) == 1
    assert old.rows.hours() == [] and drop_exposures(storage, 30) == 0
    kept = choose_run(storage, TrafficConfig(name="canary"), None, None)
    assert ids(kept.exposures.table) == ["3", "4"], "a run that goes on is whole"
    with pytest.raises(DataError, match="none was recorded, or they were deleted after events.exposure_days"):
        choose_run(storage, TrafficConfig(name="canary"), None, "2026-01-31T09")


@pytest.mark.parametrize(("days", "left"), [(None, 1), (30.0, 0)])
def test_the_compaction_deletes_them_where_it_is_told_to(tmp_path: Path, days: float | None, left: int) -> None:
    storage, said = Folder.of(str(tmp_path)), list[str]()
    run = recorded(storage, OLD, 40, "1")
    stop = threading.Event()
    stop.set()
    config = EventsConfig(store="off", compact_s=0.01, exposure_days=days)
    LogCompactor(config, storage, said.append).watch(stop.wait)
    assert len(run.rows.hours()) == left
    assert said == ([] if left else ["exposures: deleted those of 1 runs without any for 30 days"])


@pytest.mark.parametrize(("num_rounds", "left"), [(1, [1, 1, 1]), (4, [0, 0, 0])])
def test_where_runs_take_long_each_has_its_turn_and_old_ones_go(
    tmp_path: Path, num_rounds: int, left: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first runs were compacted, and nothing was ever deleted."""
    monkeypatch.setattr(exposures, "COMPACT_S", -1.0)  # each takes longer than the time of a round
    storage = Folder.of(str(tmp_path))
    old = recorded(storage, OLD, 40, "1")
    later = [replace(LATER, name=f"canary-{number}") for number in range(3)]
    runs = [recorded(storage, experiment, 2, "2") for experiment in later]
    rounds: list[float] = []

    def stopped(seconds: float) -> bool:
        if seconds:
            rounds.append(seconds)
        return seconds > 0 and len(rounds) == num_rounds

    config = EventsConfig(store="off", compact_s=0.01, exposure_days=30)
    LogCompactor(config, storage, lambda _: None).watch(stopped)
    assert old.rows.hours() == [], "though the others are not done"
    assert [len(run.rows.open_hours()) for run in runs] == left


def test_less_than_a_day_is_refused() -> None:
    with pytest.raises(ConfigError, match="events.exposure_days: 0.5"):
        EventsConfig(store="off", exposure_days=0.5)
