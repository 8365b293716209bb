"""The best points of a search are tried once more with more epochs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

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
    assert found[:2] == [("2", BASE), ("2", 20)] or found[:2] == [("2", BASE), ("3", BASE)]
    assert longest(found)["3"] == 80, "80 epochs gain nothing over 40, so there are no 160"
    assert "it is tried with 40 epochs in place of 20" in capsys.readouterr().out
    best = best_trials(open_study(SweeperConfig(), tmp_path))[0]
    assert values_of(best) == {"a": "3", "train.epochs": 40}
    assert overrides_of(space(*A, "seed=1,2"), best, "1") == ["a=3", "seed=1", "train.epochs=40"]


def test_a_point_that_is_found_late_is_tried_longer_though_another_one_has_had_more_epochs(tmp_path: Path) -> None:
    values = {("2", 10): 0.2, ("2", 20): 0.3, ("2", 40): 0.3, ("3", 10): 0.25, ("3", 20): 0.4, ("3", 40): 0.4}
    found = tried(tmp_path, lambda a, epochs: values[a, epochs], space("a=choice(2,3)"), trials=6)
    assert longest(found) == {"2": 40, "3": 40}


@pytest.mark.parametrize(
    ("overrides", "best_epoch", "settings"),
    [
        ((*A, "train.epochs=10"), 1.0, {}),
        ((*A, "+train.epochs=choice(10)"), 1.0, {}),
        (A, 0.5, {}),
        (A, 1.0, {"longer": 0}),
    ],
    ids=["given", "searched", "best early", "off"],
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


def test_a_known_point_of_another_choice_of_a_group_is_not_tried_under_the_one_that_is_given(tmp_path: Path) -> None:
    starts = [{"recipe": "ids", "a": 2}, {"recipe": "transformer", "a": 3}]
    found = space(*A, "recipe=ids")
    assert [found.is_of_other_choice(start) for start in starts] == [False, True]
    assert not space(*A, "recipe=choice(ids,transformer)").is_of_other_choice(starts[1])
    tried(tmp_path, lambda a, epochs: 0.5, found, trials=2, starts=starts, longer=0)
    assert [trial.user_attrs.get("start") for trial in open_study(SweeperConfig(), tmp_path).trials] == [True, None]
