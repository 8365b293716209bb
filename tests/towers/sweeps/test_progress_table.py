"""What a sweep prints where there is no terminal: a line per change and, once in a while, how far trials have come."""

import io
import time
from unittest.mock import Mock

import pytest
from rich.console import Console

from towers.sweeps import progress_table
from towers.sweeps.placement import RunningTrial
from towers.sweeps.progress_table import ProgressTable
from towers.sweeps.records import Record, State


def trial(number: int, *epochs: float) -> RunningTrial:
    values = [(epoch, {"ndcg@20": value}) for epoch, value in enumerate(epochs, start=1)]
    overrides = [f"train.learning_rate={number / 10}"]
    return RunningTrial(
        number=number,
        overrides=overrides,
        queued_at=0.0,
        started_at=time.time() - 40,
        task=Mock(),
        epochs=values,
        num_epochs=4,
    )


def test_running_trials_are_told_of_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    table = ProgressTable([], 0, None, Console(file=out, width=160))
    with table:
        table([trial(1), trial(2)], [], None)
        table([trial(1, 0.1), trial(2)], [], None)
        assert out.getvalue().splitlines() == [
            "trial 1 started: train.learning_rate=0.1",
            "trial 2 started: train.learning_rate=0.2",
        ]
        monkeypatch.setattr(progress_table, "INTERVAL_S", 0.0)
        table([trial(1, 0.1, 0.25), trial(2)], [], None)
    assert out.getvalue().splitlines()[2:] == ["trial 1 epoch 2/4  ndcg@20 0.25  40 s, 40 s left"]


def test_after_the_last_epoch_a_trial_is_being_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_table, "INTERVAL_S", 0.0)
    out = io.StringIO()
    with ProgressTable([], 0, None, Console(file=out, width=160)) as table:
        table([trial(1, 0.1, 0.2, 0.25, 0.3)], [], None)
    assert out.getvalue().splitlines()[1:] == ["trial 1 epoch 4/4  ndcg@20 0.3  40 s, trained, being measured"]


def test_the_parameters_of_a_search_are_shown_as_they_come_to_vary() -> None:
    out = io.StringIO()
    with ProgressTable([], 0, None, Console(file=out, width=160)) as table:
        table([trial(1)], [], None)
        table([trial(1), trial(2)], [], None)
        third = trial(2)
        third.number, third.overrides = 3, ["train.learning_rate=0.2", "recipe=ids"]
        table([trial(1), trial(2), third], [], None)
    assert out.getvalue().splitlines() == [
        "trial 1 started: train.learning_rate=0.1",
        "trial 2 started: train.learning_rate=0.2",
        "trial 3 started: train.learning_rate=0.2 recipe=ids",
    ]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_stands_in_brackets_is_shown(is_terminal: bool) -> None:
    """Lists vanished from the output, and a reason with a path in brackets ended the sweep in an error of rich's."""
    out = io.StringIO()
    given = trial(1)
    given.overrides = ["evaluate.baselines=[popularity,ease]"]
    record = Record(number=2, overrides=["evaluate.baselines=[ials]"], state=State.failed, reason="none of [/logs/a]")
    with ProgressTable([], 0, None, Console(file=out, width=160, force_terminal=is_terminal)) as table:
        table([given], [record], None)
    assert "[popularity,ease]" in out.getvalue()
    assert "trial 2 failed: none of [/logs/a]  evaluate.baselines=[ials]" in out.getvalue()
