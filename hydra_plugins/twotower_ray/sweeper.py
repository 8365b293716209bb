"""`hydra/sweeper=optuna`: a search by Optuna's samplers, which may stop trials early."""

import copy
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.structured import structured
from towers.sweeps.settings import SweeperConfig

if TYPE_CHECKING:
    from towers.sweeps.search.study import Reached

RESULTS_FILE = "optimization_results.yaml"
"""The file in the folder of the sweep with the best trials, under the keys that Hydra's own Optuna sweeper writes."""


@dataclass
class OptunaSweeperConf(SweeperConfig):
    """The values of `hydra/sweeper=optuna`."""

    _target_: str = "hydra_plugins.twotower_ray.sweeper.OptunaSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider="twotower_ray")


class OptunaSweeper(Sweeper):
    """Asks Optuna for a trial whenever the launcher has room for one; requires `hydra/launcher=ray`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = structured(SweeperConfig, settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config, self.task_function = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Searches until `hydra.sweeper.trials` trials are done; returns number, parameters and values of the best.

        Raises:
            ConfigError: there is nothing to search, the study was made for another search, or the launcher is not
                `hydra/launcher=ray`.
            NothingFound: no trial has finished.
        """
        from towers.sweeps.results.found import NothingFound, why_not_final, why_nothing
        from towers.sweeps.search.ask_and_tell import Search
        from towers.sweeps.search.longer import overrides_of, values_of
        from towers.sweeps.search.same_study import refuse_other_study
        from towers.sweeps.search.space import SearchSpace
        from towers.sweeps.search.study import Reached, best_trials, open_study

        if not hasattr(self.launcher, "run"):  # isinstance would fail: Hydra executes plugin modules a second time
            raise ConfigError(
                "hydra/sweeper=optuna: starts trials one by one as there is room for them; add hydra/launcher=ray"
            )
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{name}={values}" for name, values in self.settings.params.items()]
        space = SearchSpace.of(parser.parse_overrides([*params, *arguments]))
        space.refuse_groups_of_recipes()
        self.validate_batch_is_legal([space.fixed])
        self._refuse_missing_values(space.fixed)
        folder = self.launcher.folder()
        study = open_study(self.settings, folder)
        refuse_other_study(study, space, self.settings.objectives, self.launcher.inputs, self.launcher.sweep())
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        self.launcher.earlier()
        search = Search(self.settings, space, study, self._monitor())
        ended = self.launcher.run(search, overrides=[], num_done=search.num_done(), total=self.settings.trials)
        trials = best_trials(study)
        best = [{"number": t.number, "params": values_of(t), "values": t.values} for t in trials]
        self._save(best, folder)
        if not best:
            raise NothingFound(why_nothing(ended, folder))
        if self.settings.final and len(best) == 1:
            self._fit_finally(overrides_of(space, trials[0], space.seeds[0]), folder, Reached.of(study))
        elif self.settings.final:
            print(why_not_final(len(best), folder / RESULTS_FILE))
        return best

    def _fit_finally(self, overrides: list[str], folder: Path, reached: "Reached") -> None:
        """Fits the best point once more, writes it as a yaml, and says what was gained.

        Both were done before where an earlier launch has got as far as that. If the fit fails, the yaml is written all
        the same, and the error of the fit is raised in the end.
        """
        from conf.verbs import decides, override_key
        from towers.sweeps.launch import config_options
        from towers.sweeps.records import Records
        from towers.sweeps.results import found as results

        sweep, module = self.launcher.sweep(), self.task_function.__module__
        records = Records(folder, sweep.typed_in).read()
        if (best := results.best_record(records, overrides)) is None:
            print(f"sweep: no final fit: the best trial is of a launch in another folder; {folder} has no record of it")
            return
        typed_in = {override_key(str(each)) for each in self.config.hydra.overrides.task}
        final_values = [each for each in self.settings.final if override_key(each) not in typed_in]
        given = results.final_overrides(best, final_values)
        final = self._launched(given, folder / results.FINAL, sweep.name)
        has_finished = final.status is JobStatus.COMPLETED
        values = results.yaml_values(sweep.task_config(sweep.trial_config(0, given)))
        metrics = [objective.metric for objective in self.settings.objectives]
        result = final.return_value if has_finished else None
        lines = results.gain_lines(records, best, reached, metrics, result)
        if not has_finished:
            lines.append("the final fit has failed, so that it was not measured; the same command tries it again")
        found = results.write_recipe(folder, values, partial(decides, module), lines)
        for line in lines:
            print(f"search: {line}")
        log = OmegaConf.select(self.config, "hydra.runtime.choices.data")
        options = config_options(sys.argv[1:], self.config)
        beside = results.beside_recipe(log, given, override_key)
        beside += results.values_beside(values, results.yaml_values(sweep.plain_config(beside)))
        again = results.command_again(module, folder, options, beside)
        print(f"search: {found}; it is fitted again by\n  {again}")
        _ = final.return_value  # raises where it has failed

    def _launched(self, overrides: list[str], folder: Path, name: str) -> JobReturn:
        """What a single trial of the sweep `name` in a folder of its own has returned, now or in an earlier launch."""
        config = copy.deepcopy(self.config)
        with open_dict(config):
            config.hydra.sweep.dir = str(folder)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=self.task_function, config=config
        )
        launcher.name = name
        launcher.inputs.datasets |= self.launcher.inputs.datasets  # the log may have grown since
        with Folder.of(str(folder)).locked("fit"):  # a launch beside this one finds it done
            (final,) = launcher.launch([overrides], 0)
        return final

    def _monitor(self) -> str | None:
        """The name of the value of an epoch by which trials are compared; None where the config names none."""
        monitor = self.settings.halving.metric or OmegaConf.select(self.config, "train.monitor")
        return None if monitor is None else str(monitor)

    def _refuse_missing_values(self, fixed: list[str]) -> None:
        objectives = [objective.metric for objective in self.settings.objectives]
        monitor = self._monitor() if self.settings.halving.factor else None
        if (reason := self.launcher.sweep().missing_value(fixed, objectives, monitor)) is not None:
            raise ConfigError(reason)

    def _save(self, best: list[dict[str, Any]], folder: Path) -> None:
        results: dict[str, Any] = {"name": "optuna"}
        if len(self.settings.objectives) > 1:
            results["solutions"] = best
        elif best:
            results |= {"best_params": best[0]["params"], "best_value": best[0]["values"][0]}
        OmegaConf.save(OmegaConf.create(results), folder / RESULTS_FILE)
