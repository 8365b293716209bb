"""A trial that prepares its log, waits or is measured lives; in its epochs, their reports alone say so."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from towers.sweeps import trial as module
from towers.sweeps.trial import Trial, in_epochs, living, working_for
from towers.training.epochs.epoch import WorkerState
from towers.training.progress import Progress
from towers.training.worker import _should_continue


def test_it_lives_but_for_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A final fit was given up as hanging while its baselines were tuned, again and again."""
    monkeypatch.setattr(module, "EVERY_S", 0.02)
    lives: list[int] = []
    with working_for(cast(Trial, SimpleNamespace(report_alive=lambda: lives.append(1)))), living():
        wait_for(lambda: len(lives) > 2)
        with in_epochs():
            time.sleep(0.05)
            before = len(lives)
            time.sleep(0.1)
            assert len(lives) == before
        wait_for(lambda: len(lives) > before)
    after = len(lives)
    time.sleep(0.1)
    assert len(lives) == after


def test_nobody_is_told_outside_of_a_sweep() -> None:
    with living(), in_epochs():
        pass


def test_a_fit_whose_values_do_not_count_lives_by_its_epochs() -> None:
    """A backtest and the final fit after it were given up as hanging, as neither reported anything."""
    lives: list[int] = []
    job = SimpleNamespace(trial=SimpleNamespace(report_alive=lambda: lives.append(1)), is_reported=False)
    run = cast(WorkerState, SimpleNamespace(job=job, progress=Progress(tracked="")))
    assert _should_continue(run, {"loss": 1.0}, is_first=True)
    assert _should_continue(run, {"loss": 1.0}, is_first=False)
    assert lives == [1], "the first worker says it for all"


def wait_for(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)
