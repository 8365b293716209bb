"""Configuration of `hydra/launcher=ray` and `hydra/sweeper=optuna`."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from towers.sweeps.directions import is_better_when_lower


@dataclass(kw_only=True)
class LauncherConfig:
    """How trials are placed on a cluster, and when they are given up.

    Attributes:
        address: address of a running cluster; null joins the one that `cluster.address` or the environment variable
            RAY_ADDRESS names, or else starts a Ray on this machine.
        num_cpus: number of CPUs of a Ray started here; null takes `cluster.num_cpus` or, without that, counts each core
            twice, because only one of a trial's two processes (its own and its training worker) works at a time.
        cpus: CPUs for a trial's own process, which computes on as many threads, and for its Ray Data tasks. The
            resources of its training (train.num_workers, cpus_per_worker, use_gpu, gpus_per_worker, labels) are added
            to these. A trial starts once there is room for all of them.
        memory_gib: memory of a trial's own process in GiB; Ray places no more trials on a node than fit.
        max_concurrent: how many trials may be placed or wait for a place at the same time. An autoscaling cluster grows
            for those that wait. null means 64, of which no more than one waits in a search: each trial is to learn from
            those before it.
        retries: how often a trial is tried again after it was lost: its process or its node died, it ran out of memory,
            or it hung. A trial that raises an error is not retried.
        hangs_after_s: seconds without a report of an epoch after which a trial that trains is given up; one that
            prepares its log, waits for another training or is measured does not hang. null means never.
        timeout_s: seconds that a trial may take; null means without limit.
        resume: whether trials that an earlier launch in the same sweep folder has completed are not run again. A search
            goes on in any case: hydra.sweeper.study begins another one.
        same_code: whether such trials must have been run with the code as it is now, and so must the datasets and
            checkpoints that trials find. Their config and their log must be the same in any case.
        ship_code: whether this code is sent to a cluster that was not started here (a Ray job has its code there
            already). If false, the nodes must have the code at the same path.
        runtime_env: Ray runtime environment of the trials' processes.
    """

    address: str | None = None
    num_cpus: int | None = bounded(None, at_least=1)
    cpus: float = bounded(1.0, at_least=0)
    memory_gib: float = bounded(0.0, at_least=0)
    max_concurrent: int | None = bounded(None, at_least=1)
    retries: int = bounded(0, at_least=0)
    hangs_after_s: float | None = bounded(None, above=0)
    timeout_s: float | None = bounded(None, above=0)
    resume: bool = True
    same_code: bool = True
    ship_code: bool = True
    runtime_env: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_bounds(self, "hydra.launcher")

    def process_runtime_env(self) -> dict[str, Any]:
        """`runtime_env` of a trial's own process, with as many threads as it has CPUs (Ray would give it one)."""
        if self.cpus < 2:
            return self.runtime_env
        threads = {"OMP_NUM_THREADS": str(int(self.cpus))}
        return self.runtime_env | {"env_vars": threads | self.runtime_env.get("env_vars", {})}


class Sampler(Enum):
    """Optuna's samplers. A grid needs none: Hydra's own sweeper makes one of choices and ranges."""

    tpe = "tpe"
    random = "random"
    nsga2 = "nsga2"  # for several objectives


class Direction(Enum):
    """Whether large or small values of an objective are better."""

    maximize = "maximize"
    minimize = "minimize"


@dataclass(kw_only=True)
class Objective:
    """What a search optimises.

    Attributes:
        metric: a dotted path into what the task returns, such as training.best_value (on the validation part).
        direction: whether large or small values are better; null means small ones of losses, times, sizes, errors and
            Gini coefficients (towers/sweeps/directions.py), and large ones of all others.
    """

    metric: str = "training.best_value"
    direction: Direction | None = None

    @property
    def is_minimized(self) -> bool:
        """Whether small values are better."""
        if self.direction is None:
            return is_better_when_lower(self.metric)
        return self.direction is Direction.minimize

    @property
    def resolved(self) -> Direction:
        """The direction, where it is given or follows from the metric."""
        return Direction.minimize if self.is_minimized else Direction.maximize


@dataclass(kw_only=True)
class Halving:
    """Asynchronous successive halving (Li et al. 2018): of the trials that reach a rung, one in `factor` continues.

    Attributes:
        factor: at least 2, or 0, which lets every trial finish.
        first: the epoch of the first rung; each further rung is at `factor` times as many epochs.
        metric: the value of an epoch by which trials are compared: a low loss is better than a high one, and of other
            values a high one. Null means train.monitor.
    """

    factor: int = bounded(0, at_least=0)
    first: int = bounded(1, at_least=1)
    metric: str | None = None

    def __post_init__(self) -> None:
        check_bounds(self, "hydra.sweeper.halving")
        if self.factor == 1:
            raise ConfigError("hydra.sweeper.halving.factor: 1 must be 0, which lets every trial finish, or at least 2")


@dataclass(kw_only=True)
class SweeperConfig:
    """A hyperparameter search by Optuna.

    Attributes:
        sampler: how points of the search space are chosen.
        trials: number of trials, those of earlier launches of the study included.
        minutes: minutes that all launches of the study may take together; null means without limit. No trial starts
            later, and those that run are stopped after their epoch, once one has finished, unless they are ahead of all
            that have; of several objectives, none is. The final fit is part of the time: as long as the best trial took
            is kept free for it.
        params: the search space, in Hydra's override grammar; overrides on the command line are added to it.
        objectives: several objectives give a Pareto front instead of one best trial.
        study: name of the Optuna study; launches with the same study and storage share their trials. Null means the
            name of the sweep's folder.
        storage: a path to a journal file, or the URL of a database; null keeps a journal in the sweep's folder.
        seed: seed of the sampler; later launches of a study go on with other points.
        startup: trials drawn at random before the sampler begins to learn; null means the sampler's own default.
        halving: early stopping of trials that fall behind.
        longer: the best point that has finished is tried once more with this many times its epochs, and so on while
            that gains a hundredth and the time is enough for it; 0 tries none. Points whose epochs were raised equally
            often are compared. It needs one objective, and neither train.epochs nor train.stop_after may be given or
            searched.
        starts: points of the search space that are tried first, such as recipes that are known to be good elsewhere. A
            value on the command line replaces theirs; those of another choice of a config group are left out.
        final: overrides with which the best point is fitted once more in the end, in the folder `final` of the sweep;
            the point is then written as a yaml too (towers/sweeps/results/found.py). Values on the command line go
            before. Empty means neither, and so do several points on a Pareto front, none of which is the best.
    """

    sampler: Sampler = Sampler.tpe
    trials: int = bounded(20, at_least=1)
    minutes: float | None = bounded(None, above=0)
    params: dict[str, str] = field(default_factory=dict)
    objectives: list[Objective] = field(default_factory=lambda: [Objective()])
    study: str | None = None
    storage: str | None = None
    seed: int = bounded(0, at_least=0, below=2**32)
    startup: int | None = bounded(None, at_least=0)
    halving: Halving = field(default_factory=Halving)
    longer: int = bounded(0, at_least=0)
    starts: list[dict[str, Any]] = field(default_factory=list)
    final: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_bounds(self, "hydra.sweeper")
        if not self.objectives:
            raise ConfigError("hydra.sweeper.objectives: [] must name at least one")
        if self.longer == 1:
            raise ConfigError("hydra.sweeper.longer: 1 must be 0, which tries no point once more, or at least 2")
        if self.halving.factor and len(self.objectives) > 1:
            raise ConfigError(
                "hydra.sweeper.halving: compares trials by one value, and there are several objectives; set factor=0"
            )
