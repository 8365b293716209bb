"""Launches of one search, one after another or at once: who lives, what is tried again, how time is spent."""

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from tests.towers.sweeps.search.test_search import finished, space
from towers.sweeps.search import launches
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.budget import SPENT_PREFIX, Budget
from towers.sweeps.search.study import open_study
from towers.sweeps.settings import Halving, Sampler, SweeperConfig

SPACE = space("a=interval(0.0,1.0)")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which launches write and read heartbeats."""
    now = [1e9]
    monkeypatch.setattr(launches, "time", SimpleNamespace(time=lambda: now[0]))
    return now


def joined(folder: Path, **settings: object) -> Search:
    config = SweeperConfig(halving=Halving(factor=3), **settings)  # type: ignore[arg-type]
    return Search(config, SPACE, open_study(config, folder), "v")


def states(folder: Path) -> list[TrialState]:
    return [trial.state for trial in open_study(SweeperConfig(), folder).get_trials()]


def test_a_launch_that_asks_for_nothing_is_not_taken_for_dead(tmp_path: Path, clock: list[float]) -> None:
    first = joined(tmp_path)
    first.next_trial()
    for _ in range(10):
        clock[0] += 11
        first.heartbeat()
    joined(tmp_path)
    assert states(tmp_path) == [TrialState.RUNNING]


def test_a_trial_of_a_launch_that_dies_is_tried_again_by_one_that_runs_already(
    tmp_path: Path, clock: list[float]
) -> None:
    """Who starts the command again at once after a kill is there before the dead launch is known to be dead."""
    dead = joined(tmp_path)
    number, overrides = dead.next_trial() or (0, [])
    later = joined(tmp_path)
    assert states(tmp_path) == [TrialState.RUNNING]
    clock[0] += 61
    later.heartbeat()
    clock[0] += 61
    later.heartbeat()
    assert states(tmp_path) == [TrialState.FAIL, TrialState.WAITING]
    again = later.next_trial()
    assert again is not None and again[1] == overrides and again[0] != number


@pytest.mark.parametrize("ends", [True, False])
def test_a_launch_that_was_taken_for_dead_leaves_the_trial_to_the_other(
    tmp_path: Path, clock: list[float], ends: bool
) -> None:
    """Such as one on a machine that was asleep. It ended in a traceback of Optuna's."""
    asleep = joined(tmp_path)
    number, overrides = asleep.next_trial() or (0, [])
    clock[0] += 61
    other = joined(tmp_path)
    assert not asleep.should_continue(number, 1, {"v": 0.5})
    asleep.trial_ended(finished(number, overrides, 0.5 if ends else None), None)
    again = other.next_trial()
    assert again is not None and again[1] == overrides
    other.trial_ended(finished(*again, 0.5), None)
    assert states(tmp_path) == [TrialState.FAIL, TrialState.COMPLETE]


def test_of_a_trial_that_goes_on_later_ones_are_compared_with_the_epochs_that_they_have_had_too(tmp_path: Path) -> None:
    """Its training goes on where it was interrupted. Its epoch 4 counted as its value at epoch 1, which none had."""
    first = joined(tmp_path)
    number, overrides = first.next_trial() or (0, [])
    assert [first.should_continue(number, epoch, {"v": epoch / 10}) for epoch in (1, 2, 3)] == [True] * 3
    first.trial_ended(finished(number, overrides, None), None)
    later = joined(tmp_path)
    again, its_overrides = later.next_trial() or (0, [])
    assert its_overrides == overrides
    assert later.should_continue(again, 4, {"v": 0.4})
    other, _ = later.next_trial() or (0, [])
    assert later.should_continue(other, 1, {"v": 0.2}), "ahead of the .1 that the first had after one epoch"
    assert not later.should_continue(other, 3, {"v": 0.25}), "behind its .3 after three"


def test_launches_at_the_same_time_share_the_minutes() -> None:
    study, now = optuna.create_study(direction="maximize"), [0.0]
    study.add_trial(optuna.trial.create_trial(value=1.0))
    first = Budget(study, "first", 100.0, False, lambda: now[0])
    second = Budget(study, "second", 100.0, False, lambda: now[0])
    now[0] = 60.0
    assert not second.is_over()
    first.record()
    assert second.is_over() and first.is_over() is False, "the second has written nothing yet"
    second.record()
    assert first.is_over()


def test_the_time_of_a_launch_that_is_killed_counts_though_it_asked_for_nothing(
    tmp_path: Path, clock: list[float]
) -> None:
    killed = joined(tmp_path, minutes=60)
    killed.next_trial()
    clock[0] += 11
    killed.heartbeat()
    study = open_study(SweeperConfig(), tmp_path)
    assert any(name.startswith(SPENT_PREFIX) and spent > 0 for name, spent in study.user_attrs.items())


@pytest.mark.parametrize("sampler", list(Sampler))
def test_a_later_launch_tries_other_points(tmp_path: Path, sampler: Sampler) -> None:
    """With the same random numbers it tried those of the first one again, as did a launch beside it."""

    def points(search: Search) -> list[str]:
        found = [search.next_trial() or (0, []) for _ in range(4)]
        for number, overrides in found:
            search.trial_ended(finished(number, overrides, 0.5), None)
        return [overrides[0] for _, overrides in found]

    tried = [point for _ in range(3) for point in points(joined(tmp_path, trials=20, sampler=sampler))]
    assert len(set(tried)) == len(tried) == 12
    again = points(joined(tmp_path / "again", trials=20, sampler=sampler))
    assert again == tried[:4], "the first launch of a study has the points of its seed"
