"""Refuses to go on with a study that was made for another search: its trials would be compared with other ones."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from data.artifacts.errors import ConfigError
from data.cluster.typed_commands import command, override
from towers.sweeps.reuse.inputs import UNKNOWN, InputsReader
from towers.sweeps.search.longer import overrides_of
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.settings import Objective
from towers.sweeps.trial_process import SweepContext

INPUTS_ATTRIBUTE = "inputs"
"""User attribute of a trial of a study, with what it is run with (towers/sweeps/reuse/inputs.py)."""

SEARCH_ATTRIBUTE = "search"
"""User attribute of a study, with its objectives and seeds."""


def refuse_other_study(
    study: optuna.Study, space: SearchSpace, objectives: list[Objective], inputs: InputsReader, sweep: SweepContext
) -> None:
    """Compares a study that earlier launches have left with the search that is about to start.

    Raises:
        ConfigError: the study has another search space, other objectives or other seeds, or its trials were run with
            another config, log or code. The message names the differences.
    """
    of_its_own = command(override("hydra.sweeper.study", f"{study.study_name}-2"))
    cure = f"give the new search a study of its own, such as {of_its_own}"
    search = {
        "objectives": [f"{objective.metric} ({objective.resolved.value})" for objective in objectives],
        "seeds": space.seeds,
    }
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    of_search = search_change(study, search) if done else None
    if (change := space_change(study, space) or of_search or direction_change(study, objectives)) is not None:
        raise ConfigError(f"{change} in the study {study.study_name!r}; {cure}")
    for trial in _one_for_each_choice_of_files(done, sweep):
        now = inputs.of(sweep.trial_config(0, overrides_of(space, trial, space.seeds[0])))
        difference = inputs.differences(now, trial.user_attrs.get(INPUTS_ATTRIBUTE))
        if difference == UNKNOWN:
            print(f"sweep: trial {trial.number} of the study counts as done: {UNKNOWN}, and is taken to be the same")
        elif difference:
            raise ConfigError(
                f"hydra.sweeper.study: trial {trial.number} of {study.study_name!r} cannot be compared with new ones:"
                f" {difference}; {cure}"
            )
    study.set_user_attr(SEARCH_ATTRIBUTE, search)


def direction_change(study: optuna.Study, objectives: list[Objective]) -> str | None:
    """How the directions of the objectives differ from the study's, which it has for good; None where they do not."""
    was = [direction.name.lower() for direction in study.directions]
    now = [objective.resolved.value for objective in objectives]
    return None if now == was else f"hydra.sweeper.objectives: {', '.join(now)} was {', '.join(was)}"


def space_change(study: optuna.Study, space: SearchSpace) -> str | None:
    """How the search space of the study's latest trial differs from `space`; None where it does not.

    A study without trials fits any space.
    """
    asked = [trial.distributions for trial in study.get_trials(deepcopy=False) if trial.distributions]
    if not asked:
        return None
    was, now = asked[-1], space.distributions
    keys = [key for key in dict.fromkeys([*was, *now]) if was.get(key) != now.get(key)]
    return "; ".join(f"{key}: {_formatted(now.get(key))} was {_formatted(was.get(key))}" for key in keys) or None


def search_change(study: optuna.Study, search: Mapping[str, Any]) -> str | None:
    """How objectives or seeds differ from those of the study; None where they do not."""
    was: dict[str, Any] = study.user_attrs.get(SEARCH_ATTRIBUTE, {})
    names = {"objectives": "hydra.sweeper.objectives", "seeds": "seed"}
    keys = [key for key in search if key in was and was[key] != search[key]]
    return "; ".join(f"{names[key]}: {search[key]} was {was[key]}" for key in keys) or None


def _one_for_each_choice_of_files(trials: list[FrozenTrial], sweep: SweepContext) -> list[FrozenTrial]:
    """One trial for each combination of yaml files, and of texts, that the search has chosen.

    A text may name a file of the log. The others differ in numbers alone, so that what their configs and their logs
    come from is the same. To compose the config of every trial would take seconds for each ten of them.
    """
    loader = sweep.hydra_context.config_loader
    found: dict[tuple[tuple[str, Any], ...], FrozenTrial] = {}
    groups: dict[str, bool] = {}
    for trial in trials:
        for key in trial.params:
            if key not in groups:
                groups[key] = bool(loader.get_group_options(key.lstrip("+").partition("@")[0]))
        chosen = ((key, of) for key, of in trial.params.items() if groups[key] or not _is_number(of))
        found.setdefault(tuple(chosen), trial)
    return list(found.values())


def _is_number(value: Any) -> bool:
    """Whether a value of a search is one, or is written as one; choices are kept as they are typed."""
    if isinstance(value, int | float):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _formatted(distribution: BaseDistribution | None) -> str:
    """A distribution as it is written in an override."""
    if distribution is None:
        return "not searched"
    if isinstance(distribution, CategoricalDistribution):
        return f"choice({', '.join(map(str, distribution.choices))})"
    of: dict[str, Any] = distribution._asdict()
    step = f", step {of['step']}" if of.get("step") not in (None, 1) else ""
    return f"{'log ' if of.get('log') else ''}interval({of['low']}, {of['high']}{step})"
