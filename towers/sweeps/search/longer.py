"""Trains the best points for longer: once more with twice the epochs, as long as that gains and there is time."""

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from towers.sweeps.records import Record
from towers.sweeps.search.budget import SECONDS_ATTRIBUTE, Budget
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.starts import START_ATTRIBUTE

EPOCHS = "train.epochs"
"""The value that is raised. Where it is searched, or given on the command line, it stays as it is."""

STOP_AFTER = "train.stop_after"
"""The value that ends a training before its last epoch; where it is searched or given, epochs are not raised."""

EPOCHS_ATTRIBUTE = "epochs"
"""User attribute of a trial that has finished, with its last epoch and its best one."""

REACHED_ATTRIBUTE = "reached"
"""User attribute of an Optuna trial that was queued again, with the values that it had reported, by epoch.

Its training goes on after these.
"""

LONGER_ATTRIBUTE = "longer"
"""User attribute of a trial that is another one trained for longer: `of`, the number of that trial, `epochs`, and
`times`, how often the epochs of its point were raised."""

MIN_GAIN = 0.01
"""By what share of its value a point must have gained by more epochs before it is given still more."""

LATE = 0.8
"""If the best epoch is not in the last part of the epochs, from this share on, more of them are of no use."""


def overrides_of(space: SearchSpace, trial: Trial | FrozenTrial, seed: str | None) -> list[str]:
    """The overrides of a trial: those of its point, and its epochs where it is trained for longer than its recipe."""
    overrides = space.overrides(trial.params, seed)
    return [*overrides, f"{EPOCHS}={trial.user_attrs[LONGER_ATTRIBUTE]['epochs']}"] if is_longer(trial) else overrides


def values_of(trial: FrozenTrial) -> dict[str, Any]:
    """The values of a trial by override key, its epochs among them where it is trained for longer."""
    return trial.params | ({EPOCHS: trial.user_attrs[LONGER_ATTRIBUTE]["epochs"]} if is_longer(trial) else {})


def is_longer(trial: Trial | FrozenTrial) -> bool:
    """Whether a trial is another one trained for longer. Halving does not compare it: its rate has still to fall."""
    return LONGER_ATTRIBUTE in trial.user_attrs


def epochs_of(record: Record) -> dict[str, int] | None:
    """The value of `EPOCHS_ATTRIBUTE`; None where the trial does not report epochs.

    A trial that went on after an interruption has reported its later epochs alone, and one whose training was complete
    has reported none.
    """
    last = record.epochs[-1][0] if record.epochs else record.measured("training.epoch")
    best = record.measured("training.best_epoch")
    return {"last": int(last), "best": int(best)} if last and best is not None else None


@dataclass(frozen=True)
class Longer:
    """Queues the best points of a study once more, with more epochs.

    A trial is compared with those whose epochs were raised as often or less, so that a point that is found late is not
    behind one that has had more epochs. All is read from the study, so that a later launch, which may have more time,
    goes on.

    Attributes:
        factor: how many times as many epochs; 0 queues none.
        study: the Optuna study.
        space: the search space.
        budget: says how much time is left.
    """

    factor: int
    study: optuna.Study
    space: SearchSpace
    budget: Budget

    def queue(self) -> None:
        """Queues a point that is to be tried with more epochs, and says so; none before all known ones have ended."""
        is_given = self.space.has(EPOCHS) or self.space.has(STOP_AFTER)
        if not self.factor or is_given or len(self.study.directions) > 1:
            return
        trials = self.study.get_trials(deepcopy=False)
        if any(_comes_first(trial) for trial in trials):
            return
        raised = {trial.user_attrs[LONGER_ATTRIBUTE]["of"] for trial in trials if is_longer(trial)}
        for best in self._ahead(trials):
            if best.number not in raised and self._may_gain(best, trials) and self._has_time(best):
                self._queue(best)
                return

    def has_time_again(self, trial: Trial) -> bool:
        """Whether a longer trial that an earlier launch has begun would be over in time."""
        longer = trial.user_attrs[LONGER_ATTRIBUTE]
        before = self.study.get_trials(deepcopy=False)[longer["of"]]
        reached = max(map(int, trial.user_attrs.get(REACHED_ATTRIBUTE, {})), default=0)
        return self._has_time(before, reached / longer["epochs"])

    def _ahead(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """For each number of raises the trial that is better than all with as many or fewer; the best one first."""
        found: dict[int, FrozenTrial] = {}
        best: FrozenTrial | None = None
        for trial in sorted((t for t in trials if t.state is TrialState.COMPLETE), key=_times):
            if best is None or self._gain(trial, best) > 0:
                best = found[_times(trial)] = trial
        return list(reversed(found.values()))

    def _may_gain(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> bool:
        """Whether it was still getting better at its end, and had gained enough when its epochs were last raised."""
        epochs = trial.user_attrs.get(EPOCHS_ATTRIBUTE)
        if epochs is None or epochs["best"] < LATE * epochs["last"]:
            return False
        if not is_longer(trial):
            return True
        before = trials[trial.user_attrs[LONGER_ATTRIBUTE]["of"]]
        gain = self._gain(trial, before)
        return gain > 0 and gain >= MIN_GAIN * abs(_value(before))

    def _has_time(self, trial: FrozenTrial, done: float = 0.0) -> bool:
        seconds = self.factor * float(trial.user_attrs.get(SECONDS_ATTRIBUTE, 0.0))
        return self.budget.has_time_for(seconds, len(self.space.seeds), done)

    def _gain(self, trial: FrozenTrial, other: FrozenTrial) -> float:
        """By how much a trial is better than another one."""
        gain = _value(trial) - _value(other)
        return -gain if self.study.directions[0] is optuna.study.StudyDirection.MINIMIZE else gain

    def _queue(self, trial: FrozenTrial) -> None:
        last = trial.user_attrs[EPOCHS_ATTRIBUTE]["last"]
        longer = {"of": trial.number, "epochs": self.factor * last, "times": _times(trial) + 1}
        self.study.enqueue_trial(trial.params, {LONGER_ATTRIBUTE: longer})
        print(
            f"search: trial {trial.number * len(self.space.seeds)} is the best so far of its length; it is tried with"
            f" {longer['epochs']} epochs in place of {last}"
        )


def _comes_first(trial: FrozenTrial) -> bool:
    """Whether a trial waits to be tried, or is a known point that runs: what is best is not known before it ends."""
    return trial.state is TrialState.WAITING or (
        trial.state is TrialState.RUNNING and START_ATTRIBUTE in trial.user_attrs
    )


def _times(trial: FrozenTrial) -> int:
    return int(trial.user_attrs[LONGER_ATTRIBUTE]["times"]) if is_longer(trial) else 0


def _value(trial: FrozenTrial) -> float:
    assert trial.values, "it has finished"
    return float(trial.values[0])
