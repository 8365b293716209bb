"""A search by Optuna's ask and tell: a trial is asked for when there is room for it, and told when it has ended."""

import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import optuna
from hydra.core.utils import JobReturn
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from data.artifacts.errors import ConfigError
from towers.sweeps.records import Record, State
from towers.sweeps.settings import Sampler, SweeperConfig
from towers.sweeps.space import Space

JOURNAL = "study.journal"
LAUNCH, AGAIN = "launch", "again"
"""Attributes of a study's trials: which launch runs it, and that it was queued once more."""

BEAT_S, DEAD_AFTER_S = 10.0, 60.0
"""A launch tells its study that it lives; what belongs to one that has not for so long is tried again."""


def open_study(config: SweeperConfig, folder: Path) -> optuna.Study:
    """The study of earlier launches, or a new one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=config.study or folder.name,
        storage=_storage(config.storage or str(folder / JOURNAL)),
        sampler=_sampler(config),
        pruner=_pruner(config),
        directions=[objective.direction.value for objective in config.objectives],
        load_if_exists=True,
    )


def _storage(where: str) -> BaseStorage:
    if "://" in where:
        return RDBStorage(where)
    Path(where).parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(where))


def _sampler(config: SweeperConfig) -> BaseSampler:
    match config.sampler:
        case Sampler.tpe if config.startup is not None:
            return TPESampler(seed=config.seed, constant_liar=True, n_startup_trials=config.startup)
        case Sampler.tpe:
            return TPESampler(seed=config.seed, constant_liar=True)
        case Sampler.random:
            return RandomSampler(seed=config.seed)
        case Sampler.nsga2:
            return NSGAIISampler(seed=config.seed)


def _pruner(config: SweeperConfig) -> BasePruner:
    if not config.halving.factor:
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=config.halving.first, reduction_factor=config.halving.factor, min_early_stopping_rate=0
    )


@dataclass
class _Point:
    """A trial of the study; as many jobs as there are seeds, the first one before the others."""

    trial: Trial
    waiting: deque[int]
    values: list[list[float]] = field(default_factory=list)


class Search:
    """Where trials come from (towers/sweeps/trials.py): those asked for until as many as wanted are done."""

    def __init__(self, config: SweeperConfig, space: Space, study: optuna.Study, monitor: str | None) -> None:
        """`monitor`: the value of an epoch that halving goes by."""
        self._config, self._space, self._study, self._monitor = config, space, study, monitor
        self.ahead = 0
        self._launch = uuid.uuid4().hex
        self._told_at = 0.0
        self._points: dict[int, _Point] = {}
        self.judges = config.halving.factor > 0
        self._beat()
        self._again()
        self._left = config.trials - self.num_done()

    def num_done(self) -> int:
        """Trials that need not be tried again, those of other launches included."""
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))

    def next(self) -> tuple[int, list[str]] | None:
        self._beat()
        number = next((number for number, point in self._points.items() if point.waiting), None)
        if number is None:
            if self._left <= 0:
                return None
            self._left -= 1
            trial = self._study.ask(self._space.searched)
            trial.set_user_attr(LAUNCH, self._launch)
            number = trial.number
            self._points[number] = _Point(trial, deque([0]))
        point = self._points[number]
        seed = point.waiting.popleft()
        return number * len(self._space.seeds) + seed, self._space.overrides(
            point.trial.params, self._space.seeds[seed]
        )

    def reported(self, number: int, epoch: int, values: Mapping[str, float]) -> bool:
        """The first seed's values are those that a point is judged by."""
        of, seed = divmod(number, len(self._space.seeds))
        point, value = self._points.get(of), values.get(self._monitor or "")
        if point is None or seed or not self.judges:
            return True
        if value is None:
            raise ConfigError(
                f"hydra.sweeper.halving.metric: an epoch reports no {self._monitor!r}; it has {', '.join(values)}"
            )
        point.trial.report(value, epoch)
        return not point.trial.should_prune()

    def ended(self, record: Record, job: JobReturn | None) -> None:
        of, seed = divmod(record.number, len(self._space.seeds))
        point = self._points[of]
        if record.state is State.pruned:
            return self._tell(of, TrialState.PRUNED)
        values = [record.value(objective.metric) for objective in self._config.objectives]
        if record.state is not State.finished or None in values:
            return self._tell(of, TrialState.FAIL)
        point.values.append(values)
        if seed == 0:
            point.waiting.extend(range(1, len(self._space.seeds)))
        if len(point.values) == len(self._space.seeds):
            return self._tell(of, [fmean(column) for column in zip(*point.values, strict=True)])
        return None

    def _tell(self, number: int, what: TrialState | list[float]) -> None:
        point = self._points.pop(number)
        if isinstance(what, list):
            self._study.tell(point.trial, what)
        else:
            self._study.tell(point.trial, state=what)

    def _beat(self) -> None:
        """This launch lives."""
        if time.time() - self._told_at > BEAT_S:
            self._told_at = time.time()
            self._study.set_user_attr(self._launch, self._told_at)

    def _again(self) -> None:
        """What failed, or was left by a launch that died, is queued once more."""
        beats = self._study.user_attrs
        for trial in self._study.get_trials(deepcopy=False):
            left = trial.state is TrialState.RUNNING and self._is_dead(trial, beats)
            if left:
                self._study.tell(trial.number, state=TrialState.FAIL)
            if (left or trial.state is TrialState.FAIL) and not self._study.user_attrs.get(f"{AGAIN}-{trial.number}"):
                self._study.set_user_attr(f"{AGAIN}-{trial.number}", True)
                self._study.enqueue_trial(trial.params)

    def _is_dead(self, trial: FrozenTrial, beats: Mapping[str, object]) -> bool:
        beat = beats.get(str(trial.user_attrs.get(LAUNCH)), 0.0)
        return time.time() - float(str(beat)) > DEAD_AFTER_S


def best(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or all that no other is better than in every objective."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return study.best_trials if len(study.directions) > 1 else [study.best_trial]
