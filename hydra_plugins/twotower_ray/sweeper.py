"""`hydra/sweeper=optuna`: a search by Optuna's samplers, with trials pruned as they run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from data.artifacts.errors import ConfigError
from data.artifacts.structured import structured
from towers.sweeps.settings import SweeperConfig

RESULTS = "optimization_results.yaml"
"""In the sweep's folder: the best, under the names that Hydra's own Optuna sweeper gives."""


@dataclass
class OptunaSweeperConf(SweeperConfig):
    _target_: str = "hydra_plugins.twotower_ray.sweeper.OptunaSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="twotower_ray")


class OptunaSweeper(Sweeper):
    """Asks for trials as the launcher has room for them; wants `hydra/launcher=ray`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = structured(SweeperConfig, settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Searches until as many trials are done as wanted; returns what was best.

        Raises:
            ValueError: there is nothing to search, or it needs another launcher.
        """
        from towers.sweeps.search import Search, best, open_study
        from towers.sweeps.space import Space

        if not hasattr(self.launcher, "run"):  # by class it could not be told: Hydra executes plugin modules anew
            raise ConfigError(
                "hydra/sweeper=optuna: asks for one trial at a time as there is room; add hydra/launcher=ray"
            )
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{name}={of}" for name, of in self.settings.params.items()]
        space = Space.of(parser.parse_overrides([*params, *arguments]))
        folder = self.launcher.folder()
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        self.validate_batch_is_legal([space.fixed])
        study = open_study(self.settings, folder)
        search = Search(self.settings, space, study, self._monitor())
        self.launcher.run(search, [], search.num_done(), self.settings.trials)
        found = [{"number": t.number, "params": t.params, "values": t.values} for t in best(study)]
        self._save(found, folder)
        return found

    def _monitor(self) -> str | None:
        """The value of an epoch that halving goes by."""
        halving = self.settings.halving
        monitor = halving.metric or OmegaConf.select(self.config, "train.monitor")
        return str(monitor) if halving.factor else None

    def _save(self, found: list[dict[str, Any]], folder: Path) -> None:
        several = len(self.settings.objectives) > 1
        results: dict[str, Any] = {"name": "optuna"}
        if several:
            results["solutions"] = found
        elif found:
            results |= {"best_params": found[0]["params"], "best_value": found[0]["values"][0]}
        OmegaConf.save(OmegaConf.create(results), folder / RESULTS)
