"""`hydra/launcher=ray`: a sweep's jobs side by side on whatever cluster Ray is connected to."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from data.artifacts.structured import structured
from towers.sweeps.settings import LauncherConfig

if TYPE_CHECKING:
    from towers.sweeps.records import Record
    from towers.sweeps.trials import Source


@dataclass
class RayLauncherConf(LauncherConfig):
    _target_: str = "hydra_plugins.twotower_ray.launcher.RayLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConf, provider="twotower_ray")


class RayLauncher(Launcher):
    """Runs each job as a trial of its own, see towers/sweeps/trials.py."""

    def __init__(self, **settings: Any) -> None:
        self.settings = structured(LauncherConfig, settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What each job returned, in order; one that did not finish raises when its value is looked at."""
        from towers.sweeps.listed import Listed

        jobs = [list(overrides) for overrides in job_overrides]
        source = Listed(jobs, initial_job_idx, self.known())
        self.run(source, jobs, len(source.done))
        return [source.returned(overrides) for overrides in jobs]

    def known(self) -> "list[Record]":
        """What the sweep's folder tells of earlier launches."""
        from towers.sweeps.records import Records

        return Records(self.folder()).read() if self.settings.resume else []

    def folder(self) -> Path:
        """The sweep's."""
        return Path(str(self.config.hydra.sweep.dir)).absolute()

    def run(
        self, source: "Source", jobs: Sequence[Sequence[str]], done: int, total: int | None = None
    ) -> "list[Record]":
        """Runs what a source gives; says how it ended."""
        from towers.sweeps.live import LiveTable, failures, summary
        from towers.sweeps.placement import Places
        from towers.sweeps.records import Records
        from towers.sweeps.results.summary import SWEEP
        from towers.sweeps.session import joined, stoppable
        from towers.sweeps.trials import Trials

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        folder = self.folder()
        folder.mkdir(parents=True, exist_ok=True)
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(folder)
        (folder / SWEEP).write_text(json.dumps({"module": self._module()}))
        total = total or len(jobs)
        if done:
            print(f"sweep: {done} of {total} trials are done already (hydra.launcher.resume=false does them again)")
        with joined(self.settings) as grows, LiveTable(jobs, done, total) as table, stoppable() as stop:
            places, records = Places(self.settings, grows), Records(folder)
            ended = Trials(self.settings, self._sweep(folder), source, records, places, table, stop).run()
        for line in failures(ended):
            print(f"sweep: {line}")
        if ended:
            print(f"sweep: {summary(ended)}; what each printed: {folder}/*/log.txt")
        self._told(folder)
        return ended

    def _told(self, folder: Path) -> None:
        """The leaderboard, where the sweep's task returns what one can be made of; else how to make one."""
        from towers.sweeps.records import Records
        from towers.sweeps.results.summary import DEFAULT, shown

        objectives = OmegaConf.select(self.config, "hydra.sweeper.objectives")
        metric = objectives[0].metric if objectives else DEFAULT
        records = Records(folder).read()
        if any(record.value(metric) is not None for record in records):
            shown(folder, metric)
        elif any(isinstance(record.result, dict) for record in records):
            print(
                f"sweep: no trial gave {metric}; python -m towers.leaderboard sweep={folder} metric=... takes another"
            )

    def _module(self) -> str:
        """What is called by `python -m`."""
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        return spec.name if spec is not None else self.task_function.__module__

    def _sweep(self, folder: Path) -> Any:
        from towers.sweeps.job import Sweep

        return Sweep(
            name=folder.name,
            hydra_context=self.hydra_context,
            config=self.config,
            task_function=self.task_function,
            singletons=Singleton.get_state(),
            folder=str(Path.cwd()),
        )
