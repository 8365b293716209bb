"""A trial counts as done only with the same config, log and code; a study goes on only with the same search."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, RunMode
from optuna import Study

from conf.schema import FOLDER, register
from conf.verbs import decides
from data.artifacts.errors import ConfigError
from towers.sweeps.code_digest import code_digest
from towers.sweeps.fixed_trials import FixedTrials
from towers.sweeps.inputs import InputsReader, TrialInputs, changed_lines
from towers.sweeps.launch import earlier_records
from towers.sweeps.records import Record, Records, State
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.same_study import refuse_other_study
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.study import open_study
from towers.sweeps.settings import Direction, Objective, SweeperConfig
from towers.sweeps.trial_process import SweepContext

GRID = """# @package _global_
data:
  users_per_part: {users}
train:
  epochs: 3
"""


class World:
    """A log, a yaml and the code of a sweep, which may change between two launches."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.code = folder, "one"
        self.log = folder / "clicks.csv"
        self.log.write_text("user_id,item_id,time\na,b,1\n")
        self.write_yaml(users=50)

    def write_yaml(self, users: int) -> None:
        (self.folder / "my" / "experiment").mkdir(parents=True, exist_ok=True)
        (self.folder / "my" / "experiment" / "mygrid.yaml").write_text(GRID.format(users=users))

    def reader(self, *, same_code: bool = True, verb: str = "data.prepare") -> tuple[InputsReader, SweepContext]:
        """As a launch of `verb` makes it."""
        places = create_config_search_path(str(FOLDER))
        places.prepend("command-line", f"file://{self.folder}/my", "schema")
        loader = ConfigLoaderImpl(places)
        overrides = ["experiment=mygrid", "data=csv", f"data.source.interactions={self.log}"]
        context = HydraContext(loader, Callbacks())
        config = loader.load_configuration("config", overrides, RunMode.MULTIRUN)
        config.hydra.sweep.dir = str(self.folder / "sweep")
        sweep = SweepContext(
            name="sweep", hydra_context=context, config=config, task_function=lambda of: None, singletons=None,
            working_directory="",
        )  # fmt: skip
        return InputsReader(sweep, self.code, partial(decides, verb), same_code), sweep

    def trials(self, jobs: Sequence[list[str]]) -> list[str]:
        """A launch of these trials, which all finish; returns those that ran."""
        inputs, sweep = self.reader()
        source = FixedTrials(jobs, 0, earlier_records(self.folder / "sweep", inputs))
        ran = []
        while (following := source.next_trial()) is not None:
            number, overrides = following
            now = inputs.of(sweep.trial_config(number, overrides)).as_json()
            record = Record(number=number, overrides=overrides, state=State.finished, result={"v": 1.0}, inputs=now)
            Records(self.folder / "sweep").add(record)
            ran.append(overrides[-1])
        return ran


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    register()
    yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


JOBS = [[*("experiment=mygrid", "data=csv"), f"data.split.kind={kind}"] for kind in ("temporal", "leave_last_out")]


def jobs(world: World) -> list[list[str]]:
    return [[*job[:2], f"data.source.interactions={world.log}", job[2]] for job in JOBS]


def test_nothing_changed_and_all_is_done(world: World) -> None:
    assert len(world.trials(jobs(world))) == 2
    assert world.trials(jobs(world)) == []


def test_a_changed_yaml_runs_again_and_says_which_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.trials(jobs(world))
    world.write_yaml(users=77)
    assert len(world.trials(jobs(world))) == 2
    expected = "sweep: no longer counts as done: trial 0, 1: data.users_per_part was 50 and is 77\n"
    assert capsys.readouterr().out == expected
    assert world.trials(jobs(world)) == []


def test_a_changed_log_runs_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.trials(jobs(world))
    with world.log.open("a") as log:
        log.write("c,d,2\n")
    assert len(world.trials(jobs(world))) == 2
    assert capsys.readouterr().out == "sweep: no longer counts as done: trial 0, 1: the log has changed\n"


def test_a_log_of_the_same_size_written_later_runs_again(world: World) -> None:
    world.trials(jobs(world))
    os.utime(world.log, (1e9, 1e9))
    assert len(world.trials(jobs(world))) == 2


def test_changed_code_runs_again_unless_it_is_declared_the_same(world: World) -> None:
    world.trials(jobs(world))
    records = Records(world.folder / "sweep").read()
    world.code = "two"
    inputs, _ = world.reader(same_code=False)
    assert inputs.split_changed(records) == (records, [])
    inputs, _ = world.reader()
    (line,) = changed_lines(inputs.split_changed(records)[1])
    assert "the code has changed (hydra.launcher.same_code=false counts it as the same)" in line
    assert len(world.trials(jobs(world))) == 2


def test_a_value_that_the_command_does_not_use_does_not_count(world: World) -> None:
    prepare, sweep = world.reader()
    train, _ = world.reader(verb="towers.train")
    config = sweep.trial_config(0, [*jobs(world)[0], "train.epochs=9", "train.threads=2", "cluster.num_cpus=3"])
    assert "train.epochs" not in prepare.of(config).config
    of_train = train.of(config).config
    assert of_train["train.epochs"] == 9
    assert not {"train.threads", "cluster.num_cpus", "serve.port", "tracking.mode"} & set(of_train)


def test_trials_that_left_the_grid_are_set_aside_with_the_config_they_had(world: World) -> None:
    """Otherwise the leaderboard would rank yesterday's config beside today's."""
    world.trials(jobs(world))
    world.write_yaml(users=77)
    world.trials(jobs(world)[:1])
    assert [record.overrides[-1] for record in Records(world.folder / "sweep").read()] == ["data.split.kind=temporal"]


def test_a_record_of_an_earlier_version_is_not_taken_for_done(world: World) -> None:
    Records(world.folder / "sweep").add(Record(number=0, overrides=jobs(world)[0], state=State.finished, result={}))
    assert len(world.trials(jobs(world))) == 2


def test_many_differences_are_counted() -> None:
    now = TrialInputs(config={f"k{n}": 1 for n in range(9)}, log=None, code="a")
    before = {"config": {f"k{n}": 0 for n in range(8)}, "log": None, "code": "a"}
    text = now.differences(before, same_code=True)
    assert text.startswith("k0 was 0 and is 1; k1 was 0 and is 1;")
    assert text.endswith("; 5 more values are others")
    assert "k8" not in text


def test_the_code_counts_and_its_comments_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    package = tmp_path / "mine_for_the_digest"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = package / "part.py"
    source.write_text('"""Says."""\n\n\ndef f():\n    return 1\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("mine_for_the_digest")
    first = code_digest("mine_for_the_digest.part")
    source.write_text('"""Says more."""\n# and this\ndef f():\n    """Says."""\n    return 1\n')
    commented = code_digest("mine_for_the_digest.part")
    source.write_text("def f():\n    return 2\n")
    assert code_digest("mine_for_the_digest.part") != first
    source.write_text('"""Says."""\n\n\ndef f():\n    """x"""\n    return 1\n')
    assert code_digest("mine_for_the_digest.part") == commented
    assert code_digest() == code_digest("data.prepare")


# --- a search


def space(*overrides: str) -> SearchSpace:
    return SearchSpace.of(OverridesParser.create().parse_overrides(list(overrides)))


def fixed(world: World) -> list[str]:
    return jobs(world)[0][:3]


TWO = "data.split.kind=choice(temporal,leave_last_out)"
THREE = "data.split.kind=choice(temporal,leave_last_out,temporal_by_user)"


def searched(world: World, *overrides: str, **settings: Any) -> Study:
    """A launch of a search by two trials, which both finish; raises where the study is refused."""
    inputs, sweep = world.reader()
    config = SweeperConfig(trials=2, objectives=[Objective(metric="v")], **settings)
    of = space(*fixed(world), *overrides)
    study = open_study(config, world.folder)
    refuse_other_study(study, of, config.objectives, inputs, sweep)
    search = Search(config, of, study, None)
    while (following := search.next_trial()) is not None:
        now = inputs.of(sweep.trial_config(*following)).as_json()
        record = Record(
            number=following[0], overrides=following[1], state=State.finished, result={"v": 1.0}, inputs=now
        )
        search.trial_ended(record, None)
    return study


def test_the_same_search_goes_on(world: World) -> None:
    searched(world, TWO)
    assert len(searched(world, TWO).trials) == 2


def test_a_changed_space_is_refused_with_old_and_new_choices(world: World) -> None:
    searched(world, TWO)
    with pytest.raises(ConfigError) as caught:
        searched(world, THREE)
    text = str(caught.value)
    assert text.startswith(
        "data.split.kind: choice(temporal, leave_last_out, temporal_by_user) was choice(temporal, leave"
    )
    assert f"hydra.sweeper.study={world.folder.name}-2" in text
    assert "\n" not in text
    assert len(searched(world, THREE, study=f"{world.folder.name}-2").trials) == 2


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("a=interval(0.1,1.0)", "a=interval(0.1,2.0)", "a: interval(0.1, 2.0) was interval(0.1, 1.0)"),
        ("a=interval(0.1,1.0)", "a=tag(log,interval(0.1,1.0))", "a: log interval(0.1, 1.0) was interval(0.1, 1.0)"),
        ("a=range(1,9)", "a=range(1,9,2)", "a: interval(1, 7, step 2) was interval(1, 8)"),
        ("a=choice(x,y)", "b=choice(x,y)", "a: not searched was choice(x, y); b: choice(x, y) was not searched"),
    ],
)
def test_every_change_of_a_space_is_named(tmp_path: Path, was: str, now: str, message: str) -> None:
    from towers.sweeps.search.same_study import space_change

    study = open_study(SweeperConfig(), tmp_path)
    study.ask(space(was).distributions)
    assert space_change(study, space(was)) is None
    assert space_change(study, space(now)) == message


def test_other_seeds_and_objectives_are_refused(world: World) -> None:
    searched(world, TWO, "seed=0,1")
    with pytest.raises(ConfigError, match=r"^seed: \['0', '1', '2'\] was \['0', '1'\] in the study"):
        searched(world, TWO, "seed=0,1,2")
    inputs, sweep = world.reader()
    study, of = open_study(SweeperConfig(), world.folder), space(*fixed(world), TWO, "seed=0,1")
    with pytest.raises(
        ConfigError, match=r"^hydra\.sweeper\.objectives: \['v \(minimize\)'\] was \['v \(maximize\)'\]"
    ):
        refuse_other_study(study, of, [Objective(metric="v", direction=Direction.minimize)], inputs, sweep)


def test_a_study_of_another_config_or_log_or_code_is_refused(world: World) -> None:
    searched(world, TWO)
    world.write_yaml(users=77)
    with pytest.raises(
        ConfigError, match="cannot be compared with new ones: data.users_per_part was 50 and is 77; give"
    ):
        searched(world, TWO)
    world.write_yaml(users=50)
    world.code = "two"
    with pytest.raises(ConfigError, match="the code has changed"):
        searched(world, TWO)
    world.code = "one"
    world.log.write_text("user_id,item_id,time\nx,b,1\ny,b,1\n")
    with pytest.raises(ConfigError, match="the log has changed"):
        searched(world, TWO)


def test_records_replace_and_set_aside(tmp_path: Path) -> None:
    records, one = Records(tmp_path), Record(number=0, overrides=["a=1"], state=State.finished, result={"v": 1})
    records.add(one)
    records.set_aside([one])
    assert records.read() == []
    records.add(replace(one, result={"v": 2}))
    assert [record.value("v") for record in records.read()] == [2]
