"""Searches by the command line and their final fits: also of one that fails, or where nothing is found."""

from pathlib import Path

import pytest

from tests.towers.sweeps.test_sweeps import records, swept
from towers.sweeps.records import State
from towers.sweeps.search.ask_and_tell import MAX_FAILED_AT_FIRST

pytestmark = pytest.mark.slow

SEARCH = ("x=interval(-1.0,1.0)", "hydra/sweeper=optuna", "hydra.launcher.max_concurrent=1")


def test_a_final_fit_that_fails_takes_nothing_of_what_was_found(tmp_path: Path) -> None:
    """Tuning the baselines may run out of memory after an hour of search."""
    folder, mended = tmp_path / "sweep", tmp_path / "mended"
    failing = ("hydra.sweeper.trials=2", "hydra.sweeper.final=['what=raise']", f"unless={mended}")
    first = swept(folder, *SEARCH, *failing)
    assert first.returncode != 0
    assert "number: 0 is not wanted" in first.stderr
    assert "search: 2 trials, 0 of them stopped early" in first.stdout
    assert "search: the final fit has failed" in first.stdout
    found = folder / "final" / "experiment" / "found.yaml"
    assert "the final fit has failed" in found.read_text()
    assert f"search: {found}; it is fitted again by" in first.stdout
    mended.touch()
    second = swept(folder, *SEARCH, *failing)
    assert second.returncode == 0, second.stderr
    assert "the final fit has failed" not in found.read_text()
    assert len(records(folder)) == 2


def test_a_search_all_of_whose_trials_fail_is_an_error(tmp_path: Path) -> None:
    done = swept(tmp_path / "sweep", *SEARCH, "hydra.sweeper.trials=30", "what=raise")
    assert done.returncode != 0
    found = records(tmp_path / "sweep")
    assert [record.state for record in found] == [State.failed] * MAX_FAILED_AT_FIRST
    assert (
        "search: no trial has finished (8 failed); trial 7 failed: ValueError: number: 0 is not wanted" in done.stderr
    )


def test_what_is_typed_holds_for_the_final_fit_too(tmp_path: Path) -> None:
    """Such as evaluate.baselines=[popularity], by which one means to spare the tuning of others."""
    final = "hydra.sweeper.final=['number=7','epochs=1']"
    done = swept(tmp_path / "sweep", *SEARCH, "hydra.sweeper.trials=2", "number=3", final)
    assert done.returncode == 0, done.stderr
    (fitted,) = records(tmp_path / "sweep" / "final")
    assert {"number=3", "epochs=1"} < set(fitted.overrides) and "number=7" not in fitted.overrides


def test_the_final_fit_is_of_the_search_as_its_trials_are(tmp_path: Path) -> None:
    """W&B had the final fits of all searches in one group, final."""
    done = swept(tmp_path / "mine", *SEARCH, "hydra.sweeper.trials=1", "hydra.sweeper.final=['number=7']")
    assert done.returncode == 0, done.stderr
    trials = [*records(tmp_path / "mine"), *records(tmp_path / "mine" / "final")]
    assert [trial.value("sweep") for trial in trials] == ["mine", "mine"]


def test_a_search_that_has_no_best_point_says_that_there_is_no_final_fit(tmp_path: Path) -> None:
    """It ended without a word of the final fit that was asked for."""
    both = "hydra.sweeper.objectives=[{metric:training.best_value},{metric:training.best_value,direction:minimize}]"
    done = swept(tmp_path / "mine", *SEARCH, "hydra.sweeper.trials=2", "hydra.sweeper.final=['number=7']", both)
    assert done.returncode == 0, done.stderr
    assert (
        "search: hydra.sweeper.final: no final fit, as 2 points are on the Pareto front and none is the best; choose"
        f" one of {tmp_path / 'mine' / 'optimization_results.yaml'}, and train with its values" in done.stdout
    )
    assert not (tmp_path / "mine" / "final").exists()
