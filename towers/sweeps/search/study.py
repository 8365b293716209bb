"""The Optuna study of a search: its storage, sampler and pruner, and its best trials."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from towers.sweeps.search.starts import START_ATTRIBUTE
from towers.sweeps.settings import Sampler, SweeperConfig

JOURNAL_FILE = "study.journal"


def open_study(config: SweeperConfig, folder: Path) -> optuna.Study:
    """The study that earlier launches have left, or a new one.

    Args:
        folder: the folder of the sweep, which names the study and holds its journal unless the config sets these.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=config.study or folder.name,
        storage=_storage(config.storage or str(folder / JOURNAL_FILE)),
        pruner=_pruner(config),
        directions=[objective.resolved.value for objective in config.objectives],
        load_if_exists=True,
    )
    study.sampler = _sampler(config, len(study.get_trials(deepcopy=False)))
    return study


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best completed trial or, with several objectives, all trials on the Pareto front."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return study.best_trials if len(study.directions) > 1 else [study.best_trial]


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What the points of a study have reached by its first objective, each as the mean over its seeds.

    Attributes:
        finished: of all points that have finished.
        known: of those among them that are of `hydra.sweeper.starts`.
        minimize: whether low values are better.
    """

    finished: list[float]
    known: list[float]
    minimize: bool

    @classmethod
    def of(cls, study: optuna.Study) -> "Reached":
        """The values of the study's trials, of all launches."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        values = [(trial.values[0], START_ATTRIBUTE in trial.user_attrs) for trial in trials if trial.values]
        minimize = study.directions[0] is optuna.study.StudyDirection.MINIMIZE
        return cls(finished=[of for of, _ in values], known=[of for of, known in values if known], minimize=minimize)

    def best(self, values: list[float]) -> float:
        """The best of these values."""
        return min(values) if self.minimize else max(values)


def _storage(location: str) -> BaseStorage:
    if "://" in location:
        return RDBStorage(location)
    Path(location).parent.mkdir(parents=True, exist_ok=True)  # the sweep's folder, where it is not given
    return JournalStorage(JournalFileBackend(location))


def _sampler(config: SweeperConfig, num_earlier: int) -> BaseSampler:
    """The sampler of this launch.

    Args:
        num_earlier: trials that the study has. With the seed of the launch that has asked for them, this one would draw
            the same points once more. So would another study of the same search, which is named on purpose.
    """
    seed, study = config.seed, zlib.crc32((config.study or "").encode())
    if num_earlier or study:
        seed = int(np.random.SeedSequence([config.seed, num_earlier, study]).generate_state(1)[0])
    match config.sampler:
        case Sampler.tpe if config.startup is not None:
            return TPESampler(seed=seed, constant_liar=True, n_startup_trials=config.startup)
        case Sampler.tpe:
            return TPESampler(seed=seed, constant_liar=True)
        case Sampler.random:
            return RandomSampler(seed=seed)
        case Sampler.nsga2:
            return NSGAIISampler(seed=seed)


def _pruner(config: SweeperConfig) -> BasePruner:
    if not config.halving.factor:
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=config.halving.first, reduction_factor=config.halving.factor, min_early_stopping_rate=0
    )
