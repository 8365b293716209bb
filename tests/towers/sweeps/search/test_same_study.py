"""A study goes on only with the same search space, objectives, seeds, config, log and code."""

import os
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna import Study

from data.artifacts.errors import ConfigError
from tests.towers.sweeps.changing_world import World, jobs
from towers.sweeps.records import Record, State
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.same_study import refuse_other_study
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.study import open_study
from towers.sweeps.settings import Direction, Objective, SweeperConfig


def space(*overrides: str) -> SearchSpace:
    return SearchSpace.of(OverridesParser.create().parse_overrides(list(overrides)))


def fixed(world: World) -> list[str]:
    return jobs(world)[0][:3]


TWO = "data.split.kind=choice(temporal,leave_last_out)"
THREE = "data.split.kind=choice(temporal,leave_last_out,temporal_by_user)"


def searched(world: World, *overrides: str, **settings: Any) -> Study:
    """A launch of a search by two trials, which both finish; raises where the study is refused."""
    inputs, sweep = world.reader()
    config = SweeperConfig(**{"trials": 2, "objectives": [Objective(metric="v")], **settings})
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_corrected_direction_is_refused_although_no_trial_has_finished(world: World) -> None:
    """A study keeps the directions that it was made with: the search would have looked for the highest loss."""
    inputs, sweep = world.reader()
    config, of = SweeperConfig(objectives=[Objective(metric="training.best_loss")]), space(*fixed(world), TWO)
    study = open_study(config, world.folder)
    refuse_other_study(study, of, config.objectives, inputs, sweep)
    corrected = SweeperConfig(objectives=[Objective(metric="training.loss", direction=Direction.minimize)])
    again = open_study(corrected, world.folder)
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.objectives: minimize was maximize in the study .*-2"):
        refuse_other_study(again, of, corrected.objectives, inputs, sweep)


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


def test_a_study_over_several_logs_is_refused_when_any_of_them_has_changed(world: World) -> None:
    other = world.folder / "others.csv"
    other.write_text("user_id,item_id,time\na,b,1\n")
    both = f"data.source.interactions=choice({world.log},{other})"
    searched(world, both, trials=6)
    trials = searched(world, both, trials=6).trials
    assert len(trials) == 6
    assert len({trial.params["data.source.interactions"] for trial in trials}) == 2
    for path in (world.log, other):
        before, at = path.read_text(), path.stat()
        path.write_text("user_id,item_id,time\nx,b,1\ny,b,1\n")
        with pytest.raises(ConfigError, match="the log has changed"):
            searched(world, both, trials=6)
        path.write_text(before)
        os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
