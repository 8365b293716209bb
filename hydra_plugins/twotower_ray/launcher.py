"""`hydra/launcher=ray`: runs the jobs of a sweep side by side on a Ray cluster (towers/sweeps/launch.py).

Hydra imports this module whenever it looks for plugins, so Ray and most of towers/sweeps are imported only when used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from data.artifacts.structured import structured
from towers.sweeps.settings import LauncherConfig

if TYPE_CHECKING:
    from towers.sweeps.records import Record
    from towers.sweeps.reuse.inputs import InputsReader
    from towers.sweeps.trial_process import SweepContext
    from towers.sweeps.trial_sources import TrialSource


@dataclass
class RayLauncherConf(LauncherConfig):
    """The values of `hydra/launcher=ray`."""

    _target_: str = "hydra_plugins.twotower_ray.launcher.RayLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="twotower_ray")


class RayLauncher(Launcher):
    """Runs each job as one trial on the cluster (towers/sweeps/launch.py).

    Attributes:
        name: the name of the sweep, by which W&B groups its runs; None means that of its folder. The final fit of a
            search has that of the search.
    """

    name: str | None = None

    def __init__(self, **settings: Any) -> None:
        self.settings = structured(LauncherConfig, settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs and returns what each returned; reading the value of a job that did not finish raises."""
        from towers.sweeps.trial_sources import FixedTrials

        jobs = [list(overrides) for overrides in job_overrides]
        earlier = self.earlier()
        source = FixedTrials(jobs, initial_job_idx, earlier if self.settings.resume else [])
        self.run(source, overrides=jobs, num_done=len(source.done), total=len(jobs))
        return [source.job_return(overrides) for overrides in jobs]

    def folder(self) -> Path:
        """The folder of the sweep, as an absolute path."""
        return Path(str(self.config.hydra.sweep.dir)).absolute()

    def run(
        self, source: "TrialSource", *, overrides: Sequence[Sequence[str]], num_done: int, total: int
    ) -> "list[Record]":
        """Runs the trials of a source; see `towers.sweeps.launch.launch` for the arguments."""
        from towers.sweeps.launch import launch

        return launch(
            self.settings, self.sweep(), source, self.inputs, overrides=overrides, num_done=num_done, total=total
        )

    def earlier(self) -> "list[Record]":
        """The records of earlier launches that still count; see `towers.sweeps.launch.earlier_records`."""
        from towers.sweeps.launch import earlier_records

        return earlier_records(self.folder(), self.inputs)

    def sweep(self) -> "SweepContext":
        """What all trials share."""
        from towers.sweeps.trial_process import SweepContext

        return SweepContext.of_this_process(self.hydra_context, self.config, self.task_function, self.name)

    @cached_property
    def inputs(self) -> "InputsReader":
        """Finds what trials are run with: which values decide is known to conf/verbs.py."""
        from conf.verbs import decides
        from data.artifacts.plugins import in_use
        from data.cluster.code_digest import code_digest
        from towers.sweeps.launch import command_module
        from towers.sweeps.reuse.inputs import InputsReader

        module = self.task_function.__module__
        code = code_digest(module, command_module(self.task_function), *in_use())
        return InputsReader(self.sweep(), code, partial(decides, module), self.settings.same_code)
