"""The values of `hydra/launcher=ray` and `hydra/sweeper=optuna`."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from data.artifacts.errors import ConfigError


@dataclass(kw_only=True)
class LauncherConfig:
    """How trials are placed on a cluster, and when they are given up.

    Attributes:
        address: of a running cluster; null joins the one that RAY_ADDRESS names, or else starts Ray on this machine.
        num_cpus: of a Ray started here; null counts each core twice, as of a trial's processes (its own and its
            training worker) one works at a time.
        cpus: for a trial's own process, which computes on as many threads, and its Ray Data tasks. What its training
            asks for (train.num_workers, cpus_per_worker, use_gpu, gpus_per_worker, labels) comes on top, and is
            reserved all at once.
        memory_gib: of a trial's own process; Ray places no more of them on a node than fit.
        max_concurrent: trials that are placed, or wait for a place, at the same time; null: 64. The cluster grows for
            those that wait.
        retries: of a trial that was lost: its process or its node died, or it hung. One that raises is not tried again.
        hangs_after_s: without a sign (an epoch) for so long a trial is given up; null never.
        timeout_s: a trial may take so long; null has no limit.
        resume: what the sweep's folder holds of earlier launches is not done again.
        ship_code: send this code to a cluster that is not started here, unless it is a Ray job that runs, which has
            brought its own; without, the cluster's nodes have it where it lies here.
        runtime_env: of the trials' processes.
    """

    address: str | None = None
    num_cpus: int | None = None
    cpus: float = 1.0
    memory_gib: float = 0.0
    max_concurrent: int | None = None
    retries: int = 0
    hangs_after_s: float | None = None
    timeout_s: float | None = None
    resume: bool = True
    ship_code: bool = True
    runtime_env: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("num_cpus", "max_concurrent", "hangs_after_s", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"hydra.launcher.{name}: {value} must be above 0, or null")
        for name in ("cpus", "memory_gib", "retries"):
            if getattr(self, name) < 0:
                raise ConfigError(f"hydra.launcher.{name}: {getattr(self, name)} must not be below 0")

    def environment(self) -> dict[str, Any]:
        """Of a trial's own process: `runtime_env`, and threads for what has more than one CPU (Ray gives it one)."""
        if self.cpus < 2:
            return self.runtime_env
        threads = {"OMP_NUM_THREADS": str(int(self.cpus))}
        return self.runtime_env | {"env_vars": threads | self.runtime_env.get("env_vars", {})}


class Sampler(Enum):
    """Of Optuna. (A grid needs none: it is what Hydra's own sweeper makes of choices and ranges.)"""

    tpe = "tpe"
    random = "random"
    nsga2 = "nsga2"  # for several objectives


class Direction(Enum):
    maximize = "maximize"
    minimize = "minimize"


@dataclass(kw_only=True)
class Objective:
    """What is searched for.

    Attributes:
        metric: a dotted path into what the task returns, such as training.best_value (on validation).
    """

    metric: str = "training.best_value"
    direction: Direction = Direction.maximize


@dataclass(kw_only=True)
class Halving:
    """Successive halving (Li et al. 2018, asynchronous): of the trials that got as far, one of `factor` goes on.

    Attributes:
        factor: 0 lets each finish.
        first: epochs after which it is looked at a trial first; then after `factor` times as many, and so on.
        metric: by its epochs' values; null: train.monitor.
    """

    factor: int = 0
    first: int = 1
    metric: str | None = None

    def __post_init__(self) -> None:
        if self.first < 1 or self.factor < 0 or self.factor == 1:
            raise ConfigError(
                f"hydra.sweeper.halving: first ({self.first}) must be at least 1, factor ({self.factor}) 2 or 0"
            )


@dataclass(kw_only=True)
class SweeperConfig:
    """A search.

    Attributes:
        trials: in all, those of earlier launches of the study included.
        params: the search space, in Hydra's override grammar; what the command line gives comes on top of it.
        objectives: several make a Pareto front.
        study: its name; launches of one study in one storage share it. Null: the sweep's folder.
        storage: null keeps a journal in the sweep's folder; a path to a journal file, or a database's URL.
        seed: of the sampler.
        startup: trials drawn at random before the sampler begins to learn; null: its own default.
        halving: pruning of hopeless trials.
    """

    sampler: Sampler = Sampler.tpe
    trials: int = 20
    params: dict[str, str] = field(default_factory=dict)
    objectives: list[Objective] = field(default_factory=lambda: [Objective()])
    study: str | None = None
    storage: str | None = None
    seed: int = 0
    startup: int | None = None
    halving: Halving = field(default_factory=Halving)

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"hydra.sweeper.trials: {self.trials} must be at least 1")
        if not self.objectives:
            raise ConfigError("hydra.sweeper.objectives: [] must name at least one")
        if self.halving.factor and len(self.objectives) > 1:
            raise ConfigError(
                "hydra.sweeper.halving: prunes by one value, and there are several objectives; leave it out"
            )
