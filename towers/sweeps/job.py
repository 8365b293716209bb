"""One trial in its own process on the cluster: Hydra's job, as Hydra's own launchers run it."""

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
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from ray.actor import ActorHandle

from data.artifacts.errors import one_line
from data.artifacts.structured import typed
from towers.sweeps.trial import Trial, being

LOG = "log.txt"
"""In a trial's folder: what it printed."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What all jobs of a sweep share, as it travels to their processes."""

    name: str
    hydra_context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    singletons: Any
    folder: str

    def composed(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """A job's config."""
        found = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(found):
            found.hydra.job.id = f"{found.hydra.job.name}_{number}"
            found.hydra.job.num = number
            found.hydra.sweep.dir = self.config.hydra.sweep.dir
        return found


def bundles(module: str, config: DictConfig) -> tuple[list[dict[str, float]], dict[str, str]]:
    """What a job's training asks for, a bundle per worker, and the labels of the nodes where they may run.

    A task says so by a function `demand(config)` in its module; without one it asks for nothing.
    """
    demand = getattr(sys.modules.get(module), "demand", None)
    if demand is None:
        return [], {}
    task = copy.deepcopy(config)
    with read_write(task), open_dict(task):
        del task["hydra"]
    found: tuple[list[dict[str, float]], dict[str, str]] = demand(typed(task))
    return found


@ray.remote(num_cpus=0, max_retries=0)
def run(sweep: Sweep, number: int, overrides: list[str], board: ActorHandle) -> JobReturn:
    """Runs a job."""
    ray.get(board.sign.remote(number))
    _quiet()
    if Path(sweep.folder).is_dir():
        os.chdir(sweep.folder)
    setup_globals()
    Singleton.set_state(sweep.singletons)
    config = sweep.composed(number, overrides)
    HydraConfig.instance().set_config(config)
    folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
    with being(Trial(number, sweep.name, board)), _printing_to(folder / LOG):
        job = run_job(
            hydra_context=sweep.hydra_context,
            task_function=sweep.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if job.status is JobStatus.FAILED:
            print(f"error: {one_line(job._return_value)}", file=sys.stderr)
    return job


def _quiet() -> None:
    """Ray Data shows no bars: what a trial prints goes into a file."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.print_on_execution_start = False, False


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1) as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield
