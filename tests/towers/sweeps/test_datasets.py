"""Trials that are compared learn from the same dataset, whatever becomes of the log in the meantime."""

from pathlib import Path

import pytest
import ray

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from tests.data.dataset.test_preparation import written
from towers.sweeps.reuse.datasets import dataset_of_trial
from towers.sweeps.trial import Trial, working_for
from towers.sweeps.trial_reports import TrialReports


@pytest.mark.slow
def test_a_log_that_grows_during_a_sweep_is_the_same_for_all_its_trials(ray_session: None, tmp_path: Path) -> None:
    """Each trial read the log as it was when it started, and was measured on another validation part."""

    def log(num: int) -> list[str]:
        columns = {"user_id": ["a", "b"] * num, "item_id": [f"i{at}" for at in range(2 * num)]}
        return written(tmp_path, **columns, time=[1_600_000_000 + at for at in range(2 * num)])

    config, storage = load([*log(10), f"storage.root={tmp_path}/var"]).data, Folder.of(f"{tmp_path}/var")
    reports = ray.remote(num_cpus=0)(TrialReports)
    launches = [reports.remote(prunes=False) for _ in range(2)]
    said: list[str] = []

    def dataset(number: int, launch: int) -> PreparedDataset:
        with working_for(Trial(number, "sweep", launches[launch])):
            return dataset_of_trial(config, storage, said.append)

    first = dataset(0, 0)
    assert dataset(1, 0).fingerprint == first.fingerprint and "already prepared" in said[-1]
    log(12)
    assert dataset(2, 0).fingerprint == first.fingerprint and "the log has changed" in said[-1]
    launches.append(reports.remote(prunes=False, datasets=ray.get(launches[0].datasets.remote())))
    assert dataset(0, 2).fingerprint == first.fingerprint, "the final fit of a search learns from what was searched on"
    later = dataset(0, 1)
    assert later.fingerprint == prepare(config, storage).fingerprint != first.fingerprint
    assert dataset_of_trial(config, storage).fingerprint == later.fingerprint, "so is it outside of a sweep"
