"""Workers for which there is never room are refused, and those that take all CPUs are still given their data."""

from dataclasses import replace
from typing import Any, cast

import pytest

from conf.schema import Config
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from towers.model.config import FittedSplits
from towers.sweeps.trial import Trial, working_for
from towers.training.config import TrainConfig
from towers.training.fit import train
from towers.training.stages import room
from towers.training.stages.room import ReadTasks, check_room, read_tasks

TOO_MANY = TrainConfig(num_workers=4)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            TOO_MANY,
            r"^train\.num_workers: 4 worker\(s\) with 1 CPU each were asked for, and the Ray started here has 2 CPU;"
            r" set it or train\.cpus_per_worker to less",
        ),
        (TrainConfig(cpus_per_worker=2.5), r"^train\.num_workers: 1 worker\(s\) with 2\.5 CPU each"),
        (TrainConfig(use_gpu=True, num_workers=64), r"^train\.use_gpu: 64 worker\(s\) with 1 CPU and 1 GPU each were"),
        (TrainConfig(labels={"role": "trainer"}), r"^train\.labels: .* nodes labelled role=trainer .* no such label"),
    ],
    ids=["CPUs", "CPUs of one", "GPU", "labels"],
)
def test_what_this_machine_lacks_is_refused(ray_session: None, train: TrainConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_room(train, print)


def test_a_cluster_may_grow_and_a_sweep_places_its_trials(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with working_for(Trial(0, "sweep", cast(Any, None))):
        check_room(TOO_MANY, said.append)
    for enough in (TrainConfig(), TrainConfig(num_workers=2), TrainConfig(cpus_per_worker=0)):
        check_room(enough, said.append)
    assert not said
    monkeypatch.setattr(room, "started_here", lambda: False)
    check_room(TOO_MANY, said.append)
    assert said == ["train: waits for room: 4 worker(s) with 1 CPU each; the cluster has 2 CPU now"]


def test_reading_reserves_a_cpu_where_one_is_left(ray_session: None) -> None:
    assert read_tasks(TrainConfig()) == ReadTasks()
    assert read_tasks(TrainConfig(num_workers=2)) == ReadTasks(num_cpus=0, concurrency=2)


@pytest.mark.slow
@pytest.mark.parametrize("fit_on", [FittedSplits.train, FittedSplits.train_validation])
def test_workers_that_take_all_cpus_are_trained(
    tiny: Config, dataset: PreparedDataset, ray_session: None, fit_on: FittedSplits
) -> None:
    changed = replace(tiny.train, num_workers=2, epochs=1, patience=0, fit_on=fit_on)
    found = train(replace(tiny, seed=73, train=changed), dataset, Folder.of(tiny.storage.root))
    assert found.manifest["training"]["epoch"] == 1
