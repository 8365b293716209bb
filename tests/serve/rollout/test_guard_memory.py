"""The canary guard holds what its analysis needs, however long an experiment runs and however much is shown in it."""

from pathlib import Path

import pytest

from data.artifacts.folders import Folder
from serve.experiments.assignment import CONTROL, Experiment
from serve.experiments.canary_analysis import GuardConfig
from serve.experiments.exposure_files import ExposureRun
from serve.releases.pointer import LivePointer
from serve.releases.registry import POINTER, ReleaseRegistry
from serve.rollout import guard as guard_module
from serve.rollout.guard import CanaryGuard
from tests.serve.rollout.test_guard import shown

SINCE = "2026-01-31T09:00:00.000+00:00"
RUNNING = Experiment("canary-new", {"new": 0.1}, SINCE)


def point(storage: Folder, experiment: Experiment | None) -> None:
    live = LivePointer("old", None, SINCE, experiment=experiment)
    ReleaseRegistry.of(storage).folder.create().write_json(POINTER, live.as_json())


def test_of_a_long_experiment_it_holds_the_latest_exposures_and_no_names_of_files_that_it_never_reads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "MAX_EXPOSURES", 100)
    storage = Folder.of(str(tmp_path))
    point(storage, RUNNING)
    run, guard = ExposureRun.of(storage, RUNNING), CanaryGuard(GuardConfig(), storage)
    for hour in range(10, 16):
        for name in "abc":
            run.folder.write_table(f"2099-01-31T{hour}/{name}.parquet", shown(CONTROL, 60))
        assert guard.check() is None
    assert len(guard._exposures) == 100
    assert {file[:13] for file in guard._files_read} == {"2099-01-31T14", "2099-01-31T15"}
    run.folder.write_table("2099-01-31T15/d.parquet", shown("new", 30))
    assert guard.check() is None
    assert guard._exposures["variant"].to_pylist() == [CONTROL] * 70 + ["new"] * 30
    point(storage, None)
    assert guard.check() is None
    assert (len(guard._exposures), guard._files_read) == (0, set()), "nothing when the experiment is over"
