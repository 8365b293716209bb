"""One trial in its own process on the cluster: runs Hydra's job in the way in which Hydra's own launchers run it."""

import contextlib
import copy
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from ray.actor import ActorHandle

from data.artifacts.errors import ConfigError, one_line
from data.artifacts.secrets import without_passwords
from data.artifacts.structured import typed
from towers.sweeps.trial import Trial, working_for

LOG_FILE = "log.txt"
"""The file in the folder of a trial that has what its process printed."""


@dataclass(frozen=True, kw_only=True)
class SweepContext:
    """What all trials of a sweep share, as it travels to their processes.

    Attributes:
        name: the name of the sweep.
        hydra_context: Hydra's loader of configs, and its callbacks.
        config: the config of the sweep, that of Hydra included.
        task_function: the function that Hydra runs for each trial.
        singletons: the state of Hydra's singletons in the process that launches the sweep.
        working_directory: working directory of the process that launches the sweep; trials change to it if it exists.
    """

    name: str
    hydra_context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: Any
    working_directory: str

    @classmethod
    def of_this_process(
        cls, hydra_context: HydraContext, config: DictConfig, task_function: TaskFunction, name: str | None = None
    ) -> "SweepContext":
        """The context of a sweep that this process launches; its name is that of its folder unless one is given."""
        return cls(
            name=name or sweep_folder(config).name,
            hydra_context=hydra_context,
            config=config,
            task_function=task_function,
            singletons=Singleton.get_state(),
            working_directory=str(Path.cwd()),
        )

    @property
    def typed_in(self) -> tuple[str, ...]:
        """The overrides of the sweep's command line, as they were typed in and as Hydra passes them on to trials."""
        given = list(map(str, self.config.hydra.overrides.task))
        parsed = (of for of in OverridesParser.create().parse_overrides(given) if not of.is_sweep_override())
        return (*given, *(f"{of.get_key_element()}={of.get_value_element_as_str()}" for of in parsed))

    def trial_config(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """The config of one trial."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
            config.hydra.sweep.dir = self.config.hydra.sweep.dir
        return config

    def resource_demand(self, config: DictConfig) -> tuple[list[dict[str, float]], dict[str, str]]:
        """The resources that a trial's training needs: one bundle per worker, and labels of the nodes for them.

        The function `demand(config)` in the task's module decides it. Without that function a trial has no workers.
        """
        demand = getattr(sys.modules.get(self.task_function.__module__), "demand", None)
        if demand is None:
            return [], {}
        bundles: list[dict[str, float]]
        labels: dict[str, str]
        bundles, labels = demand(self.typed_config(config))
        return bundles, labels

    def missing_value(self, overrides: Sequence[str], objectives: Sequence[str], halving: str | None) -> str | None:
        """Why a search cannot use these values of its trials, where that is certain before any has run; None otherwise.

        The function `missing_value(config, objective, halving)` in the task's module decides it, if there is one.

        Args:
            overrides: what all trials share.
            objectives: dotted paths into what the task returns.
            halving: the value of an epoch by which trials are compared; None where they are not.
        """
        decide = getattr(sys.modules.get(self.task_function.__module__), "missing_value", None)
        if decide is None:
            return None
        try:
            config = self.typed_config(self.trial_config(0, overrides))
        except ConfigError:
            return None  # values that only the search gives are missing; trials say what is wrong with theirs
        reasons = (decide(config, objective, halving) for objective in objectives)
        return next((reason for reason in reasons if reason is not None), None)

    def task_config(self, config: DictConfig) -> DictConfig:
        """The config of one trial without that of Hydra."""
        task_config = copy.deepcopy(config)
        with read_write(task_config), open_dict(task_config):
            task_config.pop("hydra", None)
        return task_config

    def plain_config(self, overrides: Sequence[str]) -> DictConfig:
        """The config that these overrides compose outside of the sweep, without that of Hydra."""
        loader, name = self.hydra_context.config_loader, self.config.hydra.job.config_name
        return self.task_config(loader.load_configuration(name, list(overrides), RunMode.RUN))

    def typed_config(self, config: DictConfig) -> Any:
        """The config of one trial as the task takes it.

        Raises:
            ConfigError, OmegaConfBaseException: the config is wrong.
        """
        return typed(self.task_config(config))


def sweep_folder(config: DictConfig) -> Path:
    """The absolute path of the folder of the sweep that a config describes."""
    return Path(str(config.hydra.sweep.dir)).absolute()


@ray.remote(num_cpus=0, max_retries=0)
def run_trial(sweep: SweepContext, number: int, config: DictConfig, reports: ActorHandle) -> JobReturn:
    """Runs one trial in this process; what it prints goes into a log file in its folder.

    Args:
        config: as `SweepContext.trial_config` composes it, where the yaml files are.
    """
    ray.get(reports.report_start.remote(number))
    _disable_progress_bars()
    if Path(sweep.working_directory).is_dir():
        os.chdir(sweep.working_directory)
    setup_globals()
    Singleton.set_state(sweep.singletons)
    HydraConfig.instance().set_config(config)
    folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
    trial = Trial(number, sweep.name, reports, bool(OmegaConf.select(config, "hydra.launcher.same_code")))
    with working_for(trial), _output_redirected_to(folder / LOG_FILE):
        job = run_job(
            hydra_context=sweep.hydra_context,
            task_function=sweep.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if job.status is JobStatus.FAILED:
            print(f"error: {without_passwords(one_line(job._return_value), sweep.typed_in)}", file=sys.stderr)
    return job


def _disable_progress_bars() -> None:
    """Turns off Ray Data's progress bars, which are of no use in a log file."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.print_on_execution_start = False, False


@contextlib.contextmanager
def _output_redirected_to(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield
