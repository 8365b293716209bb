"""From Hydra's grammar to a search space, and what a search asks for and is told."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from towers.sweeps.records import Record, Records, State, parameters, varying_parameters
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.study import best_trials, open_study
from towers.sweeps.settings import Direction, Halving, LauncherConfig, Objective, Sampler, SweeperConfig


def space(*overrides: str) -> SearchSpace:
    return SearchSpace.of(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("a=choice(x,y)", CategoricalDistribution(["x", "y"])),
        ("a=1,2", CategoricalDistribution(["1", "2"])),
        ("a=range(1,5)", IntDistribution(1, 4)),
        ("a=range(0,10,3)", IntDistribution(0, 9, step=3)),
        ("a=range(0,1,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("a=interval(0.1,2)", FloatDistribution(0.1, 2.0)),
        ("a=tag(log,interval(0.001,1))", FloatDistribution(0.001, 1.0, log=True)),
        ("a=int(interval(1,8))", IntDistribution(1, 8)),
    ],
)
def test_the_grammar(override: str, wanted: BaseDistribution) -> None:
    assert space(override).distributions == {"a": wanted}


def test_what_is_not_searched_is_fixed_and_seeds_are_repeats() -> None:
    found = space("b=2", "+c=[1,2]", "a=choice(x,y)", "seed=0,1,2", "b=3")
    assert found.fixed == ["+c=[1,2]", "b=3"]
    assert found.seeds == ["0", "1", "2"]
    assert found.overrides({"a": "x"}, "1") == ["+c=[1,2]", "b=3", "a=x", "seed=1"]


@pytest.mark.parametrize("override", ["a=interval(2.0,1.0)", "a=tag(log,interval(0.0,1.0))", "a=3"])
def test_an_empty_space_is_refused(override: str) -> None:
    with pytest.raises(ValueError, match="interval|nothing to search"):
        space(override)


def finished(number: int, overrides: list[str], value: float | None) -> Record:
    state = State.finished if value is not None else State.failed
    return Record(number=number, overrides=overrides, state=state, result={"training": {"best_value": value}})


def searched(folder: Path, values: Any, space_: SearchSpace, **settings: Any) -> list[float]:
    """Runs a search one after the other; values(overrides) is what a trial comes to."""
    config = SweeperConfig(**settings)
    search = Search(config, space_, open_study(config, folder), "v")
    found = []
    while (following := search.next_trial()) is not None:
        number, overrides = following
        found.append(values(parameters(overrides)))
        search.trial_ended(finished(number, overrides, found[-1]), None)
    return found


def test_a_search_learns_and_a_later_one_goes_on(tmp_path: Path) -> None:
    def hill(given: dict[str, str]) -> float:
        return -abs(float(given["a"]) - 0.7)

    first = searched(tmp_path, hill, space("a=interval(0.0,1.0)"), trials=25)
    assert len(first) == 25
    assert max(first) > -0.05
    assert len(searched(tmp_path, hill, space("a=interval(0.0,1.0)"), trials=30)) == 5


def test_the_mean_over_seeds_counts_and_failures_are_queued_once_more(tmp_path: Path) -> None:
    given, of = space("a=choice(x,y)", "seed=0,1"), {("x", "0"): 1.0, ("x", "1"): 0.0, ("y", "0"): 0.6, ("y", "1"): 0.6}
    config = {"trials": 8, "sampler": Sampler.random}
    assert len(searched(tmp_path, lambda g: of[g["a"], g["seed"]], given, **config)) == 16
    study = open_study(SweeperConfig(**config), tmp_path)
    assert best_trials(study)[0].params == {"a": "y"}
    failing = tmp_path / "failing"
    assert searched(failing, lambda g: None, space("a=choice(x,y)"), trials=2) == [None, None]
    again = searched(failing, lambda g: 1.0, space("a=choice(x,y)"), trials=2)
    study = open_study(SweeperConfig(), failing)
    assert again == [1.0, 1.0]
    by_state = [trial.state for trial in study.get_trials()]
    assert (by_state.count(TrialState.FAIL), by_state.count(TrialState.COMPLETE)) == (2, 2)
    tried = [trial.params for trial in study.get_trials()]
    assert tried[:2] == tried[2:], "what failed is tried again, nothing else"


def test_halving_stops_what_is_behind(tmp_path: Path) -> None:
    config, given = (
        SweeperConfig(trials=9, halving=Halving(factor=3), sampler=Sampler.random),
        space("a=interval(0.0,1.0)"),
    )
    search = Search(config, given, open_study(config, tmp_path), "v")
    epochs = {}
    for value in (0.9, 0.1, 0.2, 0.3, 0.95):
        following = search.next_trial()
        assert following is not None
        number, overrides = following
        epochs[value] = next((e for e in range(1, 10) if not search.should_continue(number, e, {"v": value})), 9)
        state = State.finished if epochs[value] == 9 else State.pruned
        search.trial_ended(
            Record(number=number, overrides=overrides, state=state, result={"training": {"best_value": value}}), None
        )
    assert epochs[0.1] == epochs[0.2] == epochs[0.3] == 1
    assert epochs[0.95] > 1
    with pytest.raises(ValueError, match="an epoch reports no 'v'; it has w. .* change data.split"):
        search.should_continue(search.next_trial()[0], 1, {"w": 1.0})  # type: ignore[index]


def test_a_trial_that_went_on_before_it_heard_that_it_is_behind_is_told_after_the_next_epoch(tmp_path: Path) -> None:
    """Answers take long where the process of the search is busy; the trial then ran on to the next rung."""
    config = SweeperConfig(trials=3, halving=Halving(factor=3))
    search = Search(config, space("a=interval(0.0,1.0)"), open_study(config, tmp_path), "v")
    (first, _), (second, _) = search.next_trial() or (0, []), search.next_trial() or (0, [])
    assert search.should_continue(first, 1, {"v": 0.5}) and not search.should_continue(second, 1, {"v": 0.4})
    assert not search.should_continue(second, 2, {"v": 0.6})


@pytest.mark.parametrize("bad", ["a text", float("nan"), float("inf"), True, None])
def test_an_objective_that_is_no_finite_number_fails_its_trial_alone(tmp_path: Path, bad: object) -> None:
    config = SweeperConfig(trials=3, sampler=Sampler.random)
    search = Search(config, space("a=choice(x,y)"), open_study(config, tmp_path), None)
    for value in (bad, 0.5, 0.4):
        number, overrides = search.next_trial() or (0, [])
        result = {"training": {"best_value": value}}
        record = Record(number=number, overrides=overrides, state=State.finished, result=result)
        objection = search.objection(record)
        assert (objection is None) == (value is not bad)
        if objection is not None:
            assert objection.startswith("hydra.sweeper.objectives: training.best_value ")
            record = Record(number=number, overrides=overrides, state=State.failed, reason=objection)
        search.trial_ended(record, None)
    study = open_study(config, tmp_path)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert best_trials(study)[0].values == [0.5]


def test_an_epoch_that_is_not_finite_is_stopped(tmp_path: Path) -> None:
    config = SweeperConfig(trials=3, halving=Halving(factor=3), sampler=Sampler.random)
    search = Search(config, space("a=interval(0.0,1.0)"), open_study(config, tmp_path), "v")
    for value in (float("nan"), float("inf"), float("-inf")):
        number, _ = search.next_trial() or (0, [])
        assert not search.should_continue(number, 2, {"v": value})


@pytest.mark.parametrize("first_to_end", [1, 2])
def test_a_seed_that_fails_fails_its_point_alone_however_many_run_beside_it(tmp_path: Path, first_to_end: int) -> None:
    config = SweeperConfig(trials=2, sampler=Sampler.random)
    search = Search(config, space("a=choice(x,y)", "seed=0,1,2"), open_study(config, tmp_path), None)
    trials = []
    for seed in range(3):
        number, overrides = search.next_trial() or (0, [])
        trials.append((number, overrides))
        if seed == 0:
            search.trial_ended(finished(number, overrides, 0.5), None)
    search.trial_ended(finished(*trials[first_to_end], None), None)
    search.trial_ended(finished(*trials[3 - first_to_end], 0.4), None)
    while (following := search.next_trial()) is not None:
        search.trial_ended(finished(*following, 0.3), None)
    states = [trial.state for trial in open_study(config, tmp_path).get_trials()]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.parametrize(
    ("metric", "objective"),
    [
        ("loss", Objective()),
        ("loss", Objective(metric="training.loss")),
        ("ndcg@20", Objective(metric="training.loss")),
        ("ndcg@20", Objective()),
    ],
)
def test_halving_stops_what_is_worse_whichever_way_the_objective_goes(
    tmp_path: Path, metric: str, objective: Objective
) -> None:
    """Optuna compares epochs as it compares objectives: a low loss looked bad to a search for a high value."""
    halving = Halving(factor=3, metric=metric)
    config = SweeperConfig(trials=9, halving=halving, sampler=Sampler.random, objectives=[objective])
    search = Search(config, space("a=interval(0.0,1.0)"), open_study(config, tmp_path), metric)
    sign = -1 if metric == "loss" else 1
    for quality, goes_on in ((0.5, True), (0.3, False), (0.4, False), (0.9, True)):
        number, _ = search.next_trial() or (0, [])
        assert search.should_continue(number, 1, {metric: sign * quality}) is goes_on, quality


def test_losses_times_and_sizes_are_minimized_unless_the_objective_says_otherwise() -> None:
    low = ("training.loss", "training.seconds", "cost.size_mib", "cost.user_vector_ms", "metrics.gini@20")
    assert all(Objective(metric=metric).is_minimized for metric in low)
    assert not any(Objective(metric=metric).is_minimized for metric in ("training.best_value", "metrics.recall@20"))
    assert not Objective(metric="training.loss", direction=Direction.maximize).is_minimized
    assert Objective(metric="metrics.recall@20", direction=Direction.minimize).is_minimized


def test_several_objectives_make_a_front(tmp_path: Path) -> None:
    config = SweeperConfig(
        trials=12,
        sampler=Sampler.random,
        objectives=[Objective(), Objective(metric="training.seconds", direction=Direction.minimize)],
    )
    given = space("a=choice(1,2,3)")
    search = Search(config, given, open_study(config, tmp_path), None)
    results = {"1": (1.0, 10.0), "2": (0.5, 20.0), "3": (0.7, 5.0)}
    while (following := search.next_trial()) is not None:
        number, overrides = following
        quality, seconds = results[parameters(overrides)["a"]]
        result = {"training": {"best_value": quality, "seconds": seconds}}
        search.trial_ended(Record(number=number, overrides=overrides, state=State.finished, result=result), None)
    front = best_trials(open_study(config, tmp_path))
    assert {trial.params["a"] for trial in front} == {"1", "3"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SweeperConfig(trials=0), "hydra.sweeper.trials: 0"),
        (lambda: SweeperConfig(objectives=[]), "objectives"),
        (lambda: SweeperConfig(halving=Halving(factor=3), objectives=[Objective(), Objective()]), "several objectives"),
        (lambda: Halving(factor=1), "factor"),
        (lambda: LauncherConfig(max_concurrent=0), "hydra.launcher.max_concurrent: 0"),
        (lambda: LauncherConfig(cpus=-1), "hydra.launcher.cpus: -1"),
    ],
)
def test_wrong_values_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_records_survive_a_cut_off_line(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.add(finished(0, ["a=1"], None))
    records.add(finished(0, ["a=1"], 0.5))
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"number": 1, "overri')
    (found,) = records.read()
    assert (found.state, found.value("training.best_value"), found.value("no.such")) == (State.finished, 0.5, None)


def test_what_varies() -> None:
    assert varying_parameters([["a=1", "b=2"], ["a=2", "b=2"], ["a=1", "b=2", "+c=3"]]) == ["a", "c"]
