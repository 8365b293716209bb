"""On which Ray a sweep runs; what its runner tells a search, and when, and what it writes down of refused trials."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from conf.schema import composed, register
from data.cluster.session import ClusterConfig
from tests.towers.sweeps.changing_world import World, jobs
from tests.towers.sweeps.search.test_search import space
from towers.sweeps.launch import earlier_records
from towers.sweeps.placement import RunningTrial
from towers.sweeps.records import Records
from towers.sweeps.runner import SweepRunner
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.study import open_study
from towers.sweeps.session import cluster_of
from towers.sweeps.settings import Halving, LauncherConfig, Sampler, SweeperConfig
from towers.sweeps.trial_sources import FixedTrials, TrialSource
from towers.train import task

NAMED = ["cluster.address=auto", "cluster.num_cpus=3"]
"""Where a command works, as each takes it."""


def test_the_ray_of_the_command_is_that_of_its_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cluster.address` was taken and changed nothing: the trials ran on a Ray of this machine."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    register()
    twice = 2 * (os.cpu_count() or 1)
    assert cluster_of(LauncherConfig(), composed()) == ClusterConfig(num_cpus=twice, dashboard=False)
    assert cluster_of(LauncherConfig(), composed(NAMED)) == ClusterConfig(address="auto", num_cpus=3, dashboard=False)
    own = LauncherConfig(address="10.0.0.5:6379", num_cpus=8)
    assert cluster_of(own, composed(NAMED)) == ClusterConfig(address="10.0.0.5:6379", num_cpus=8, dashboard=False)


def test_another_programs_sweep_runs_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.6:6379")
    for values in ({"number": 1}, {"cluster": "ours"}, {"cluster": {"address": "head"}}):
        config = OmegaConf.create(values)
        OmegaConf.set_struct(config, True)
        assert cluster_of(LauncherConfig(), config).address == "10.0.0.6:6379"
    register()
    assert cluster_of(LauncherConfig(), composed(NAMED)).address == "auto"


def runner_of(source: TrialSource, running: dict[int, RunningTrial]) -> SweepRunner:
    """A runner without a cluster."""
    runner = SweepRunner.__new__(SweepRunner)
    runner._source, runner._settings, runner._max_concurrent, runner._running = source, LauncherConfig(), 64, running
    return runner


class Counted(Search):
    """Counts its heartbeats."""

    def __init__(self) -> None:
        self.num = 0

    def heartbeat(self) -> None:
        self.num += 1

    def withdraw(self, number: int) -> bool:
        return False


def test_a_search_has_heartbeats_while_a_trial_waits_for_its_place() -> None:
    """Then no other one is asked for, however long those that run take."""
    source = Counted()
    runner = runner_of(source, {0: RunningTrial(number=0, overrides=[], queued_at=0.0)})
    for _ in range(3):
        assert runner._fetch_trials()
    assert source.num == 3


def test_a_trial_in_the_middle_of_its_epochs_is_not_compared_with_those_that_end_there(tmp_path: Path) -> None:
    """In experiment=search, recipe=ids has 27 epochs and the others 18, after which the rate of the ids has to fall."""
    config = SweeperConfig(trials=9, halving=Halving(first=2, factor=3), sampler=Sampler.random)
    search = Search(config, space("a=interval(0.0,1.0)"), open_study(config, tmp_path), "v")
    running: dict[int, RunningTrial] = {}
    runner = runner_of(search, running)

    def goes_on(num_epochs: int, values: dict[int, float]) -> list[bool]:
        number, overrides = search.next_trial() or (0, [])
        running[number] = RunningTrial(number=number, overrides=overrides, queued_at=0.0, num_epochs=num_epochs)
        return [runner._goes_on(number, epoch, {"v": value}) for epoch, value in values.items()]

    assert goes_on(18, {2: 0.10, 6: 0.20, 18: 0.30}) == [True, True, True]
    assert goes_on(27, {2: 0.11, 6: 0.21, 18: 0.29}) == [True, True, True]
    assert goes_on(27, {2: 0.12, 6: 0.22, 18: 0.28}) == [True, True, False], "behind one that has as many epochs"


def test_a_combination_that_is_refused_never_counted_as_done(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Each launch of such a grid said that the trial no longer counts as done, as an earlier version had run it."""
    inputs, sweep = world.reader(verb="towers.train")
    refused, broken = ([*jobs(world)[0], *more] for more in (["model=transformer", "loss=bpr"], ["model=none"]))
    source, records = FixedTrials([refused, broken], 0, []), Records(world.folder / "sweep")
    runner = runner_of(source, {})
    runner._sweep, runner._inputs = replace(sweep, task_function=task), inputs
    runner._records, runner._ended = records, []
    while (following := source.next_trial()) is not None:
        runner._queue(*following)
    first, second = records.read()
    assert first.reason is not None and first.reason.startswith("ConfigError: loss.kind: model.history=transformer")
    assert first.inputs is not None and second.inputs is None, "the config of the second cannot be composed"
    assert earlier_records(world.folder / "sweep", inputs) == [first]
    assert capsys.readouterr().out == ""
