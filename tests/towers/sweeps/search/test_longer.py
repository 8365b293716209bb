"""The best points of a search are tried once more with more epochs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from data.artifacts.errors import ConfigError
from tests.towers.sweeps.search.test_search import space
from towers.sweeps.records import Record, State, parameters
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.longer import overrides_of, values_of
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.study import best_trials, open_study
from towers.sweeps.settings import Direction, Halving, Objective, SweeperConfig

A = ("a=choice(1,2,3)",)
BASE = 10
"""Epochs of a trial unless it is given others."""

STARTS: list[dict[str, Any]] = [{"a": 2}, {"a": 3}]

Values = Callable[[str, int], float]


def tried(
    folder: Path, values: Values, space_: SearchSpace, best_epoch: float = 1.0, seconds: float = 1.0, **settings: Any
) -> list[tuple[str, int]]:
    """Runs a search; returns `a` and the epochs of each trial. `values` has what these come to."""
    config = SweeperConfig(**{"longer": 2, "starts": STARTS, **settings})
    search, found = Search(config, space_, open_study(config, folder), "v"), []
    while (following := search.next_trial()) is not None:
        number, overrides = following
        given = parameters(overrides)
        epochs = int(given.get("train.epochs", BASE))
        found.append((given["a"], epochs))
        result = {"training": {"best_value": values(given["a"], epochs), "best_epoch": best_epoch * epochs}}
        reported = [(epoch, {"v": 0.0}) for epoch in range(1, epochs + 1)]
        record = Record(
            number=number, overrides=overrides, state=State.finished, result=result, epochs=reported, seconds=seconds
        )
        search.trial_ended(record, None)
    return found


def longest(found: list[tuple[str, int]]) -> dict[str, int]:
    """The most epochs that each value of `a` was tried with."""
    return {a: max(epochs for of, epochs in found if of == a) for a, _ in found}


def up_to(most: int) -> Values:
    """Values that rise with `a`, and with the epochs up to `most`."""
    return lambda a, epochs: 0.1 * int(a) + 0.05 * min(epochs, most) / BASE


def test_the_best_point_is_tried_with_more_epochs_as_long_as_that_gains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tried(tmp_path, up_to(40), space(*A), trials=9)
    assert found[:3] == [("2", BASE), ("3", BASE), ("3", 20)], "known points come first"
    assert longest(found)["3"] == 80, "80 epochs gain nothing over 40, so there are no 160"
    assert "it is tried with 40 epochs in place of 20" in capsys.readouterr().out
    best = best_trials(open_study(SweeperConfig(), tmp_path))[0]
    assert values_of(best) == {"a": "3", "train.epochs": 40}
    assert overrides_of(space(*A, "seed=1,2"), best, "1") == ["a=3", "seed=1", "train.epochs=40"]


def test_a_point_that_is_found_late_is_tried_longer_though_another_one_has_had_more_epochs(tmp_path: Path) -> None:
    values = {("2", 10): 0.2, ("2", 20): 0.3, ("2", 40): 0.3, ("3", 10): 0.25, ("3", 20): 0.4, ("3", 40): 0.4}
    found = tried(tmp_path, lambda a, epochs: values[a, epochs], space("a=choice(2,3)"), trials=15, starts=STARTS[:1])
    assert longest(found) == {"2": 40, "3": 40}


@pytest.mark.parametrize(
    ("overrides", "best_epoch", "settings"),
    [
        ((*A, "train.epochs=10"), 1.0, {}),
        ((*A, "+train.epochs=choice(10)"), 1.0, {}),
        ((*A, "train.stop_after=10"), 1.0, {}),
        (A, 0.5, {}),
        (A, 1.0, {"longer": 0}),
    ],
    ids=["given", "searched", "stopped", "best early", "off"],
)
def test_where_more_epochs_are_of_no_use_or_not_wanted_none_are_tried(
    tmp_path: Path, overrides: tuple[str, ...], best_epoch: float, settings: dict[str, Any]
) -> None:
    found = tried(tmp_path, up_to(1000), space(*overrides), best_epoch, trials=5, **settings)
    assert set(longest(found).values()) == {BASE}


def test_a_loss_is_better_when_it_falls(tmp_path: Path) -> None:
    low = [Objective(metric="training.best_value", direction=Direction.minimize)]
    found = tried(tmp_path, lambda a, epochs: -up_to(20)(a, epochs), space(*A), trials=8, objectives=low)
    assert longest(found)["3"] == 40


def test_what_the_time_is_too_short_for_a_later_launch_with_more_time_tries(tmp_path: Path) -> None:
    """A trial of 10 epochs takes 10 minutes here; 20, and a final fit of as many, would take 45."""
    first = tried(tmp_path, up_to(20), space(*A), seconds=600.0, trials=3, minutes=40, final=["x=1"])
    assert longest(first)["3"] == BASE
    later = tried(tmp_path, up_to(20), space(*A), seconds=600.0, trials=5, minutes=200, final=["x=1"])
    assert later[0] == ("3", 20)


def test_halving_leaves_a_longer_trial_alone_and_one_that_failed_is_as_long_again(tmp_path: Path) -> None:
    config = SweeperConfig(trials=9, longer=2, halving=Halving(factor=3), starts=STARTS[:1])
    search = Search(config, space(*A), open_study(config, tmp_path), "v")
    number, overrides = search.next_trial() or (0, [])
    assert search.should_continue(number, 1, {"v": 0.9})
    result = {"training": {"best_value": 0.9, "best_epoch": 10}}
    epochs = [(10, {"v": 0.9})]
    record = Record(number=number, overrides=overrides, state=State.finished, result=result, epochs=epochs)
    search.trial_ended(record, None)
    number, overrides = search.next_trial() or (0, [])
    assert overrides == ["a=2", "train.epochs=20"]
    assert search.should_continue(number, 1, {"v": 0.1}), "its rate has still to fall"
    search.trial_ended(Record(number=number, overrides=overrides, state=State.lost), None)
    again = Search(config, space(*A), open_study(config, tmp_path), "v").next_trial()
    assert again is not None and again[1] == overrides
    states = [trial.state for trial in open_study(config, tmp_path).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING]


def test_a_point_that_gains_by_epochs_but_is_behind_is_not_tried_longer(tmp_path: Path) -> None:
    """One that was raised twice was the best of those, and had 640 epochs in the end; nothing new was tried."""
    found = tried(tmp_path, lambda a, epochs: 0.07 if a == "3" else 0.03 + epochs * 1e-5, space(*A), trials=9)
    assert longest(found)["2"] <= 20 and longest(found)["3"] == 20
    zero = tried(tmp_path / "zero", lambda a, epochs: 0.0, space(*A), trials=9)
    assert max(longest(zero).values()) == 20


def test_the_time_of_a_point_is_that_of_all_its_seeds_and_launches(tmp_path: Path) -> None:
    """Two trainings of 10 minutes: 20 epochs take 40, and their final fit 25."""
    seeds = space(*A, "seed=0,1")
    short = tried(tmp_path / "short", up_to(20), seeds, seconds=600.0, trials=2, minutes=60, final=["x=1"])
    assert longest(short)["3"] == BASE
    config = SweeperConfig(trials=9, minutes=60, final=["x=1"], starts=STARTS[:1])
    search = Search(config, space(*A), open_study(config, tmp_path), "v")
    number, overrides = search.next_trial() or (0, [])
    stopped = Record(number=number, overrides=overrides, state=State.interrupted, seconds=1700.0)
    search.trial_ended(stopped, None)
    later = Search(config, space(*A), open_study(config, tmp_path), "v")
    number, overrides = later.next_trial() or (0, [])
    result = {"training": {"best_value": 0.5, "best_epoch": 10}}
    later.trial_ended(
        Record(number=number, overrides=overrides, state=State.finished, result=result, seconds=60.0), None
    )
    assert open_study(config, tmp_path).best_trial.user_attrs["seconds"] == 1760.0


def test_what_the_clock_has_stopped_goes_on_when_there_is_more_time(tmp_path: Path) -> None:
    config = SweeperConfig(trials=9, minutes=60, halving=Halving(factor=3), starts=STARTS)
    search = Search(config, space(*A), open_study(config, tmp_path), "v")
    first, second = search.next_trial() or (0, []), search.next_trial() or (0, [])
    result = {"training": {"best_value": 0.5, "best_epoch": 10}}
    assert search.should_continue(second[0], 1, {"v": 0.6})
    search.trial_ended(Record(number=first[0], overrides=first[1], state=State.finished, result=result), None)
    search._budget.seconds = 0.0
    assert not search.should_continue(second[0], 2, {"v": 0.4})
    search.trial_ended(Record(number=second[0], overrides=second[1], state=State.pruned), None)
    later = Search(config, space(*A), open_study(config, tmp_path), "v").next_trial()
    assert later is not None and later[1] == second[1]


def test_a_longer_trial_that_an_earlier_launch_has_begun_waits_where_the_time_is_too_short(tmp_path: Path) -> None:
    config = SweeperConfig(trials=9, longer=2, minutes=60, final=["x=1"], starts=STARTS[:1])
    search = Search(config, space(*A), open_study(config, tmp_path), "v")
    number, overrides = search.next_trial() or (0, [])
    result = {"training": {"best_value": 0.9, "best_epoch": 10}}
    record = Record(number=number, overrides=overrides, state=State.finished, result=result, seconds=600.0)
    search.trial_ended(replace(record, epochs=[(10, {"v": 0.9})]), None)
    number, overrides = search.next_trial() or (0, [])
    assert overrides[-1] == "train.epochs=20"
    search.trial_ended(Record(number=number, overrides=overrides, state=State.interrupted, seconds=60.0), None)
    soon_over = Search(replace(config, minutes=30), space(*A), open_study(config, tmp_path), "v").next_trial()
    assert soon_over is not None and len(soon_over[1]) == 1
    with_time = Search(replace(config, minutes=90), space(*A), open_study(config, tmp_path), "v").next_trial()
    assert with_time is not None and with_time[1] == overrides


def test_a_training_that_another_search_has_begun_sets_no_bar_for_halving(tmp_path: Path) -> None:
    config = SweeperConfig(trials=9, halving=Halving(first=2, factor=3), starts=STARTS)
    search = Search(config, space(*A), open_study(config, tmp_path), "v")
    (first, _), (second, _) = search.next_trial() or (0, []), search.next_trial() or (0, [])
    assert search.should_continue(first, 7, {"v": 0.3})
    assert all(search.should_continue(second, epoch, {"v": 0.1 * epoch}) for epoch in (1, 2))


def test_known_points_that_the_command_line_excludes_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = [{"recipe": "ids", "a": 1}, {"recipe": "transformer", "a": 2}, {"recipe": "pooled", "a": 3}]
    for overrides, left in ((("recipe=ids,pooled", "a=interval(0.5,5)"), 2), (("recipe=ids", "a=interval(0.5,5)"), 1)):
        for _ in range(2):  # the first of two launches had queued what came before the point that it refused
            config, folder = SweeperConfig(starts=starts), tmp_path / str(left)
            Search(config, space(*overrides), open_study(config, folder), "v")
            waiting = open_study(config, folder).get_trials(states=(TrialState.WAITING,))
            assert len(waiting) == left
    out = capsys.readouterr().out
    assert "search: 1 of 3 known points are left out: recipe=transformer is not searched" in out
    assert "search: 2 of 3 known points are left out: recipe=transformer is not searched, recipe=pooled is not" in out


@pytest.mark.parametrize("given", ["model=transformer", "loss=bpr"])
def test_a_whole_group_is_not_mixed_with_recipes_that_are_searched(given: str) -> None:
    """model=transformer set user_ids=false under recipe=ids, whose trials failed, and pooled histories were trained."""
    with pytest.raises(ConfigError, match=f"{given.replace('=', ': ')} would be mixed .* give one recipe"):
        space("recipe=ids,transformer", given).refuse_groups_of_recipes()
    space("recipe=transformer", given, *A).refuse_groups_of_recipes()
    space("recipe=ids,transformer", "model.num_blocks=3").refuse_groups_of_recipes()


def test_a_whole_number_in_a_known_point_is_written_as_optuna_has_it(tmp_path: Path) -> None:
    """The trial ran with a=1 and the study had 1.0, so no record of the best trial was found, and none was fitted."""
    given = space("a=interval(0.0,2.0)")
    assert given.overrides(given.point({"a": 1}), None) == ["a=1.0"]


def test_a_study_of_another_name_tries_other_points(tmp_path: Path) -> None:
    config, given = SweeperConfig(trials=9), space("a=interval(0.0,1.0)")
    asked = [
        Search(each, given, open_study(each, tmp_path), "v").next_trial()
        for each in (config, replace(config, study="second"))
    ]
    assert asked[0] is not None and asked[1] is not None and asked[0][1] != asked[1][1]
