"""How a search ends: when its time is over, and when its trials fail one after the other."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tests.towers.sweeps.search.test_search import finished, searched, space
from towers.sweeps.records import Record, State
from towers.sweeps.results.found import why_nothing
from towers.sweeps.search.ask_and_tell import MAX_FAILED_AT_FIRST, Search
from towers.sweeps.search.budget import SECONDS_ATTRIBUTE, Budget
from towers.sweeps.search.study import open_study
from towers.sweeps.settings import Halving, Objective, SweeperConfig

SPACE = space("a=interval(0.0,1.0)")


def begun(folder: Path, **settings: Any) -> Search:
    config = SweeperConfig(trials=50, minutes=60, halving=Halving(factor=3), **settings)
    return Search(config, SPACE, open_study(config, folder), "v")


def test_a_budget_keeps_time_for_the_final_fit() -> None:
    study, now = optuna.create_study(direction="maximize"), [0.0]
    budget = Budget(study, "first", 100.0, has_final=True, clock=lambda: now[0])
    now[0] = 1000.0
    assert not budget.is_over(), "one trial at least is finished"
    now[0] = 80.0
    study.add_trial(optuna.trial.create_trial(value=1.0, user_attrs={SECONDS_ATTRIBUTE: 10.0}))
    assert not budget.is_over(), "the final fit takes 12.5 s"
    now[0] = 90.0
    assert budget.is_over()
    now[0] = 1000.0
    budget.record()
    assert Budget(study, "second", 1001.0, False, lambda: now[0]).is_over() is False
    later = Budget(study, "third", 1001.0, False, lambda: now[0])
    now[0] += 2.0
    assert later.is_over(), "what earlier launches have taken counts"
    assert not Budget(study, "fourth", None, True, lambda: now[0]).is_over()


def test_when_the_time_is_over_no_trial_starts_and_those_that_run_stop(tmp_path: Path) -> None:
    config = SweeperConfig(trials=50, minutes=60, halving=Halving(factor=3))
    search = Search(config, SPACE, open_study(config, tmp_path), "v")
    first, second, waiting = search.next_trial(), search.next_trial(), search.next_trial()
    assert first is not None and second is not None and waiting is not None
    assert search.should_continue(first[0], 1, {"v": 1.0}) and not search.withdraw(waiting[0])
    search._budget.seconds = 0.0
    search.trial_ended(finished(first[0], first[1], 1.0), None)
    assert not search.should_continue(second[0], 1, {"v": 1.0})
    assert search.should_continue(second[0], 2, {"v": 1.1}), "it is ahead of all that have finished"
    assert search.withdraw(waiting[0])
    assert search.next_trial() is None
    longer = SweeperConfig(trials=50, minutes=60, halving=Halving(factor=3))
    later = Search(longer, SPACE, open_study(longer, tmp_path), "v").next_trial()
    assert later is not None and later[1] == waiting[1], "a launch with more time tries what had to wait"


def test_when_the_time_is_over_no_trial_starts_though_none_has_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial that halving stops made room for another one, and so on until one had finished, hours later."""
    search = begun(tmp_path)
    runs, waits = search.next_trial(), search.next_trial()
    assert runs is not None and waits is not None
    search._budget.seconds = 0.0
    assert search.withdraw(waits[0]), "another one runs"
    assert search.next_trial() is None and search.next_trial() is None
    assert search.should_continue(runs[0], 1, {"v": 0.1}), "one at least is finished"
    search.trial_ended(finished(*runs, None), None)
    last = search.next_trial()
    assert last is not None, "nothing runs, and nothing has finished"
    assert not search.withdraw(last[0]) and search.next_trial() is None
    search.trial_ended(finished(*last, 0.5), None)
    assert search.next_trial() is None
    assert capsys.readouterr().out.count("hydra.sweeper.minutes=60 are over, and no trial has finished yet") == 1


def test_when_the_time_is_over_further_seeds_start_only_of_what_is_ahead(tmp_path: Path) -> None:
    """Or with seeds=3 two more trials of each point that runs would follow."""
    config = SweeperConfig(trials=50, minutes=60, halving=Halving(factor=3))
    search = Search(config, space("a=interval(0.0,1.0)", "seed=0,1"), open_study(config, tmp_path), "v")
    for _ in range(2):
        search.trial_ended(finished(*(search.next_trial() or (0, [])), 0.5), None)
    behind, ahead = [search.next_trial() or (0, []) for _ in range(2)]
    search.trial_ended(finished(*behind, 0.4), None)
    search.trial_ended(finished(*ahead, 0.6), None)
    second_of_behind = search.next_trial() or (0, [])
    assert second_of_behind[0] == behind[0] + 1
    search._budget.seconds = 0.0
    second_of_ahead = search.next_trial() or (0, [])
    assert second_of_ahead[0] == ahead[0] + 1 and search.next_trial() is None
    assert search.should_continue(second_of_behind[0], 1, {"v": 0.1}), "it runs already, and the last one"


def test_when_the_time_is_over_a_point_behind_waits_for_another_launch(tmp_path: Path) -> None:
    config = SweeperConfig(trials=50, minutes=60, halving=Halving(factor=3))
    search = Search(config, space("a=interval(0.0,1.0)", "seed=0,1,2"), open_study(config, tmp_path), "v")
    for _ in range(3):
        search.trial_ended(finished(*(search.next_trial() or (0, [])), 0.5), None)
    first = search.next_trial() or (0, [])
    search.trial_ended(finished(*first, 0.4), None)
    second = search.next_trial() or (0, [])
    search._budget.seconds = 0.0
    assert search.next_trial() is None
    assert not search.should_continue(second[0], 1, {"v": 0.9}), "the third seed is not to come"
    search.trial_ended(finished(*second, 0.4), None)
    states = [trial.state for trial in open_study(config, tmp_path).get_trials()]
    assert states == [TrialState.COMPLETE, TrialState.FAIL]


@pytest.mark.parametrize("monitor", ["v", None])
def test_when_the_time_is_over_a_search_without_halving_stops_too(tmp_path: Path, monitor: str | None) -> None:
    """A trial of hours went on to its end, whatever hydra.sweeper.minutes said."""
    config = SweeperConfig(trials=50, minutes=60)
    search = Search(config, SPACE, open_study(config, tmp_path), monitor)
    assert search.prunes, "or trials do not ask"
    first, second = search.next_trial() or (0, []), search.next_trial() or (0, [])
    assert search.should_continue(first[0], 1, {"v": 0.5}) and search.should_continue(second[0], 1, {"v": 0.1})
    search.trial_ended(finished(*first, 0.5), None)
    assert search.should_continue(second[0], 2, {"v": 0.1}), "there is time, and nothing else stops it"
    search._budget.seconds = 0.0
    assert search.should_continue(second[0], 3, {"v": 0.6}) is (monitor is not None), "it is ahead, as far as is known"
    assert not search.should_continue(second[0], 4, {"v": 0.4})
    search.trial_ended(Record(number=second[0], overrides=second[1], state=State.pruned), None)
    later = Search(config, SPACE, open_study(config, tmp_path), monitor)
    assert later.next_trial() == (2, second[1]), "a launch with more time goes on with it"


def test_when_the_time_is_over_a_search_with_several_objectives_stops_too(tmp_path: Path) -> None:
    objectives = [Objective(), Objective(metric="training.seconds")]
    config = SweeperConfig(trials=50, minutes=60, objectives=objectives)
    search = Search(config, SPACE, open_study(config, tmp_path), "v")
    first, second = search.next_trial() or (0, []), search.next_trial() or (0, [])
    result = {"training": {"best_value": 0.5, "seconds": 1.0}}
    search.trial_ended(Record(number=first[0], overrides=first[1], state=State.finished, result=result), None)
    assert search.should_continue(second[0], 1, {"v": 0.1})
    search._budget.seconds = 0.0
    assert not search.should_continue(second[0], 2, {"v": 0.9}), "on a front none is ahead of all"


def test_a_search_that_stops_nothing_keeps_no_trial_waiting(tmp_path: Path) -> None:
    config = SweeperConfig(trials=50)
    assert not Search(config, SPACE, open_study(config, tmp_path), "v").prunes


def test_a_search_all_of_whose_trials_fail_ends(tmp_path: Path) -> None:
    """Such as one whose log has a mistake: a thousand trials failed one after the other, however few the minutes."""
    assert len(searched(tmp_path, lambda _: None, SPACE, trials=1000)) == MAX_FAILED_AT_FIRST
    again = searched(tmp_path, lambda _: 0.5, SPACE, trials=20)
    assert len(again) == 20, "the mistake is mended"


def test_a_search_ends_after_its_time_though_all_that_go_to_their_end_fail(tmp_path: Path) -> None:
    """Halving stops the others, so that not all have failed."""
    search = begun(tmp_path)
    best, other = search.next_trial() or (0, []), search.next_trial() or (0, [])
    assert search.should_continue(best[0], 1, {"v": 0.9}) and not search.should_continue(other[0], 1, {"v": 0.1})
    search.trial_ended(finished(*best, None), None)
    search.trial_ended(Record(number=other[0], overrides=other[1], state=State.pruned), None)
    search._budget.seconds, num_late = 0.0, 0
    while (late := search.next_trial()) is not None:
        num_late += 1
        search.trial_ended(Record(number=late[0], overrides=late[1], state=State.pruned), None)
    assert num_late == MAX_FAILED_AT_FIRST


def test_a_search_some_of_whose_trials_fail_goes_on(tmp_path: Path) -> None:
    values = [*[None] * (MAX_FAILED_AT_FIRST - 1), 0.5, *[None] * 20]
    assert len(searched(tmp_path, lambda _: values.pop(0), SPACE, trials=len(values))) == 28
    states = [trial.state for trial in open_study(SweeperConfig(), tmp_path).get_trials()]
    assert states.count(TrialState.COMPLETE) == 1


def test_what_is_said_where_nothing_was_found() -> None:
    def failed(number: int) -> Record:
        return Record(number=number, overrides=[], state=State.failed, reason=f"DataError: no file {number}")

    said = why_nothing([failed(0), failed(1)], Path("/s"))
    assert said == (
        "search: no trial has finished (2 failed); trial 1 failed: DataError: no file 1; output of each trial:"
        " /s/*/log.txt"
    )
    assert why_nothing([], Path("/s")).startswith("search: no trial has finished; output")
