"""A search by Optuna's ask-and-tell interface: asks for a trial when there is room, and reports how it ended."""

from collections import deque
from collections.abc import Mapping
from statistics import fmean

import optuna
from hydra.core.utils import JobReturn
from optuna.trial import Trial, TrialState

from data.artifacts.errors import ConfigError
from towers.sweeps.directions import is_better_when_lower
from towers.sweeps.records import Record, State, finite_number
from towers.sweeps.search.budget import Budget
from towers.sweeps.search.launches import Launch
from towers.sweeps.search.longer import EPOCHS_ATTRIBUTE, Longer, epochs_of, is_longer, overrides_of
from towers.sweeps.search.point import Point
from towers.sweeps.search.same_study import INPUTS_ATTRIBUTE
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.starts import queue_starts
from towers.sweeps.settings import SweeperConfig

MAX_FAILED_AT_FIRST = 8
"""If so many trials have failed and no other one has ended, the search ends: the mistake is not in their points."""

BEST_VALUE = "training.best_value"
"""The objective that is the best of the values of `train.monitor` after the epochs."""


class Search:
    """A source of trials (`TrialSource`, towers/sweeps/trial_sources.py) that asks Optuna until enough trials are done.

    With several seeds, trial number n of the sweep is seed n % num_seeds of trial n // num_seeds of the study.
    """

    learns = True

    def __init__(self, config: SweeperConfig, space: SearchSpace, study: optuna.Study, monitor: str | None) -> None:
        """Joins the study, and queues unfinished trials of launches that have died.

        Args:
            config: settings of the search.
            space: the search space.
            study: the Optuna study, which other launches may share.
            monitor: name of the value of an epoch by which trials are compared; None if there is none.
        """
        self._config, self._space, self._study, self._monitor = config, space, study, monitor
        self.prunes = config.halving.factor > 0 or config.minutes is not None
        self._launch = Launch(study)
        seconds = None if config.minutes is None else 60 * config.minutes
        self._budget = Budget(study, self._launch.id, seconds, bool(config.final))
        self._longer = Longer(config.longer, study, space, self._budget)
        self._points: dict[int, Point] = {}
        if not study.get_trials(deepcopy=False):
            queue_starts(study, config.starts, space)
        self._num_left = config.trials - self.num_done()
        self._num_failed, self._num_late, self._is_late = 0, 0, False

    def num_done(self) -> int:
        """Number of trials of the study that need not be tried again, those of other launches included."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))

    def heartbeat(self) -> None:
        """Writes into the study that this launch lives, and how long it has taken."""
        if self._launch.heartbeat():
            self._budget.record()

    def next_trial(self) -> tuple[int, list[str]] | None:
        """Another seed of a point whose first seed has finished, or else a new point; None if there are enough.

        When the time is over, further seeds start only of a point that is ahead of all that have finished.
        """
        if self._budget.is_over():
            self._give_up_seeds()
        number = next((number for number, point in self._points.items() if point.waiting), None)
        if number is None:
            if not self._may_ask():
                return None
            self._num_left -= 1
            trial = self._ask()
            self._launch.takes(trial)
            number = trial.number
            self._points[number] = Point(trial, deque([0]))
        point = self._points[number]
        index, seeds = point.waiting.popleft(), self._space.seeds
        return number * len(seeds) + index, overrides_of(self._space, point.trial, seeds[index])

    def _ask(self) -> Trial:
        """The next point: a longer one, one that waits, or a new one."""
        self._longer.queue()
        while is_longer(trial := self._study.ask(self._space.distributions)) and not self._longer.has_time_again(trial):
            self._study.tell(trial, state=TrialState.FAIL)  # it waited for too long; a later launch tries it
        return trial

    def _may_ask(self) -> bool:
        """Whether another point may start. When the time is over, one does only if no other one finishes or runs."""
        if self._num_left <= 0 or (self._num_failed >= MAX_FAILED_AT_FIRST and not self.num_done()):
            return False
        if not self._budget.is_spent():
            return True
        if self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            return False
        if not self._is_late:
            self._is_late = True
            print(
                f"search: hydra.sweeper.minutes={self._config.minutes:g} are over, and no trial has finished yet: no"
                " more start, and one that runs goes on to its end (fewer train.epochs make trials shorter)"
            )
        if self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            return False
        self._num_late += 1
        return self._num_late <= MAX_FAILED_AT_FIRST

    def withdraw(self, number: int) -> bool:
        """Whether the time was over before the first trial of a point has got a place; a later launch tries it."""
        study_number, seed_index = divmod(number, len(self._space.seeds))
        has_others = len(self._points) > 1
        if seed_index or not (self._budget.is_over() or (has_others and self._budget.is_spent())):
            return False
        self._tell(study_number, TrialState.FAIL)
        return True

    def should_continue(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        """Decides by the values of the first seed; further seeds of a point run to their end unless it is given up.

        When the time is over, trials go on that are ahead of all that have finished, also where nothing else stops any.

        Raises:
            ConfigError: the values lack the one that halving compares.
        """
        study_number, seed_index = divmod(number, len(self._space.seeds))
        if not self.prunes:
            return True
        if (point := self._point(study_number)) is None:
            return False
        if seed_index:
            return True
        if not self._config.halving.factor:
            return self._is_in_time(point, finite_number(values.get(self._monitor or "")))
        if self._monitor is None or self._monitor not in values:
            raise ConfigError(
                f"hydra.sweeper.halving.metric: an epoch reports no {self._monitor!r}; it has {', '.join(values)}. A"
                " metric of validation needs a validation part with items that are new to its users: change"
                " data.split, or name a value that there is"
            )
        if (value := finite_number(values[self._monitor])) is None:
            return False  # the others are better, whatever they have
        if point.is_behind:
            return False
        if self._budget.is_over():
            return self._is_in_time(point, value)
        if not point.is_compared(epoch, self._config.halving.first):
            return True
        is_as_objective = is_better_when_lower(self._monitor) is self._config.objectives[0].is_minimized
        point.trial.report(value if is_as_objective else -value, epoch)  # Optuna compares epochs as it does objectives
        point.is_behind = not is_longer(point.trial) and point.trial.should_prune()
        return not point.is_behind

    def _is_in_time(self, point: Point, value: float | None) -> bool:
        """Whether a trial goes on after an epoch with this value: the time is not over, or it is ahead."""
        point.is_late = self._budget.is_over() and (value is None or not self._is_ahead(value))
        return not point.is_late

    def _is_ahead(self, value: float) -> bool:
        """Whether an epoch's value is better than that of each finished trial, where the objective is its best one."""
        is_of_objective = self._config.objectives[0].metric == BEST_VALUE and not self._config.halving.metric
        return is_of_objective and self._is_best(value)

    def _is_best(self, value: float) -> bool:
        """Whether a value of the objective is better than that of each finished trial; with several ones, never."""
        if len(self._config.objectives) > 1:
            return False
        best = self._study.best_value
        return value < best if self._config.objectives[0].is_minimized else value > best

    def _give_up_seeds(self) -> None:
        """Gives up points of which seeds have still to start, unless they are ahead; a later launch tries them."""
        for number, point in list(self._points.items()):
            if point.waiting and not self._is_best(point.values[0][0]):
                self._tell(number, TrialState.FAIL)

    def trial_ended(self, record: Record, job: JobReturn | None) -> None:
        """Reports a point to Optuna: its mean once all its seeds have finished, or that it was pruned or has failed.

        Seeds that end after another one of their point has failed change nothing.
        """
        study_number, seed_index = divmod(record.number, len(self._space.seeds))
        self._budget.record()
        if (point := self._point(study_number)) is None:
            return None
        point.took(record, seed_index)
        if (epochs := epochs_of(record)) is not None:
            point.trial.set_user_attr(EPOCHS_ATTRIBUTE, epochs)
        if seed_index == 0 and record.inputs is not None:
            point.trial.set_user_attr(INPUTS_ATTRIBUTE, record.inputs)
        if record.state is State.pruned:
            return self._tell(study_number, TrialState.FAIL if point.is_late else TrialState.PRUNED)
        values = [record.measured(objective.metric) for objective in self._config.objectives]
        if record.state is not State.finished or None in values:
            self._num_failed += record.state is not State.interrupted
            return self._tell(study_number, TrialState.FAIL)
        point.values.append([value for value in values if value is not None])
        if seed_index == 0:
            point.waiting.extend(range(1, len(self._space.seeds)))
        if len(point.values) == len(self._space.seeds):
            return self._tell(study_number, [fmean(column) for column in zip(*point.values, strict=True)])
        return None

    def objection(self, record: Record) -> str | None:
        """Why Optuna cannot be told a trial's values: one of them is missing or not a finite number."""
        for objective in self._config.objectives:
            value = record.value(objective.metric)
            if finite_number(value) is None:
                what = "is missing in" if value is None else f"{value!r} is not a finite number in"
                return f"hydra.sweeper.objectives: {objective.metric} {what} what the trial returned"
        return None

    def _point(self, study_number: int) -> Point | None:
        """A point that runs; None where it has ended, or where another launch took this one for dead and has it."""
        point = self._points.get(study_number)
        if point is not None and self._study.get_trials(deepcopy=False)[study_number].state.is_finished():
            del self._points[study_number]
            return None
        return point

    def _tell(self, study_number: int, outcome: TrialState | list[float]) -> None:
        point = self._points.pop(study_number)
        if isinstance(outcome, list):
            self._study.tell(point.trial, outcome, skip_if_finished=True)
        else:
            self._study.tell(point.trial, state=outcome, skip_if_finished=True)
