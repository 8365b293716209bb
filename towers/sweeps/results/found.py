"""What a search has found: the best point fitted once more, the yaml that reproduces it, and what was gained."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from data.artifacts.errors import UserError
from data.artifacts.secrets import masked_override
from data.cluster.typed_commands import command, in_quotes, override
from towers.evaluation.report import is_reported
from towers.sweeps.progress_table import state_counts
from towers.sweeps.records import Record, State, parameters
from towers.sweeps.search.longer import EPOCHS, STOP_AFTER, epochs_of
from towers.sweeps.search.study import Reached
from towers.sweeps.trial_process import LOG_FILE

FINAL, RECIPE = "final", "found"
"""The folder of the final fit in that of the sweep, and the name of the yaml of what was found."""

NOT_OF_A_RECIPE = ("data", "storage", "cluster", "tracking", "hydra")
"""Groups of the config that belong to a log or to a machine."""

BESIDE_A_RECIPE = ("data", "storage", "cluster", "tracking", "plugins")
"""Groups, and the one value, of overrides that the command needs beside the yaml."""

SEARCH_PATH = "hydra.searchpath"

CHOSEN_ON_TEST = (
    "it was measured on the test part, of which no number is unseen now (training.best_value is of the validation part)"
)
"""What is said where trials are compared by a value of the report (`is_reported`)."""


class NothingFound(UserError):
    """No trial of a search has finished, so that none is the best."""


def why_nothing(ended: Sequence[Record], folder: Path) -> str:
    """What to say where a search has found nothing.

    Args:
        ended: records of the trials of this launch.
        folder: the folder of the sweep.
    """
    counts = f" ({state_counts(ended)})" if ended else ""
    reason = next((f"; trial {r.number} {r.state.value}: {r.reason}" for r in reversed(ended) if r.reason), "")
    return f"search: no trial has finished{counts}{reason}; output of each trial: {folder}/*/{LOG_FILE}"


def why_not_final(num_best: int, file: Path) -> str:
    """What to say where there is no final fit, because none of several points is the best.

    Args:
        num_best: the number of points on the Pareto front.
        file: has the points.
    """
    return (
        f"search: hydra.sweeper.final: no final fit, as {num_best} points are on the Pareto front and none is the best;"
        f" choose one of {file}, and train with its values and those of hydra.sweeper.final"
    )


def best_record(records: Sequence[Record], overrides: Sequence[str]) -> Record | None:
    """The record of the finished trial with these overrides."""
    return next((r for r in records if r.state is State.finished and r.overrides == list(overrides)), None)


def final_overrides(best: Record, final: Sequence[str]) -> list[str]:
    """The overrides of the final fit: those of the best trial, then those of `hydra.sweeper.final`.

    It is the training that was measured: the learning rate falls over the epochs of the trial, and it ends after the
    best of these. Where `hydra.sweeper.final` says how many epochs there are, it has those.
    """
    epochs, given = epochs_of(best), [*best.overrides, *final]
    if epochs is None or epochs["best"] >= epochs["last"] or {EPOCHS, STOP_AFTER} & parameters(final).keys():
        return given
    return [*given, f"{STOP_AFTER}={max(epochs['best'], 1)}"]


def yaml_values(config: DictConfig) -> dict[str, Any]:
    """The values of a config as yaml has them: choices by their names, and not by the values that reports print."""
    values = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    assert isinstance(values, dict), "a config is a mapping"
    return {str(name): of for name, of in values.items()}


def write_recipe(folder: Path, values: Mapping[str, Any], decides: Callable[[str], bool], head: Sequence[str]) -> Path:
    """Writes an experiment's yaml with all values that decide a training's result, except those of its log.

    Args:
        folder: the folder of the sweep; `--config-dir` names its folder `final`.
        values: the whole config, as `yaml_values` returns it.
        decides: whether a dotted key decides a result.
        head: lines for its head.
    """
    kept = {
        name: _deciding(of, name, decides) for name, of in values.items() if name not in NOT_OF_A_RECIPE
    }  # values at the top are those of other commands
    groups = {name: of for name, of in kept.items() if isinstance(of, dict) and of}
    groups |= {"seed": values["seed"]} if "seed" in values else {}
    path = folder / FINAL / "experiment" / f"{RECIPE}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    comments = "".join(f"# {line}\n" for line in head)
    path.write_text(f"# @package _global_\n{comments}{OmegaConf.to_yaml(OmegaConf.create(groups))}")
    return path


def _deciding(values: Any, key: str, decides: Callable[[str], bool]) -> Any:
    """The values of a group without those that say where or how fast it works."""
    if not isinstance(values, Mapping):
        return copy.deepcopy(values)
    return {name: _deciding(of, f"{key}.{name}", decides) for name, of in values.items() if decides(f"{key}.{name}")}


def beside_recipe(log: str | None, given: Sequence[str], key_of: Callable[[str], str]) -> list[str]:
    """The overrides of the final fit that say which log it is of, and where things lie.

    Args:
        log: the choice of the group `data`, which an experiment may have made; None where it is not known.
        given: the overrides of the final fit.
        key_of: gives the config key of an override.
    """
    shown = [each for each in given if key_of(each).partition(".")[0] in BESIDE_A_RECIPE]
    chosen = [] if log is None or any(each.startswith("data=") for each in shown) else [f"data={log}"]
    return [*chosen, *shown]


def values_beside(values: Mapping[str, Any], plain: Mapping[str, Any]) -> list[str]:
    """Overrides of the values beside a recipe that an experiment has set, and no override.

    Args:
        values: the whole config, as `yaml_values` returns it.
        plain: the one that is composed without the experiment.
    """
    return [line for name in BESIDE_A_RECIPE for line in _changed(name, values.get(name), plain.get(name))]


def _changed(key: str, value: Any, plain: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and isinstance(plain, Mapping) and value and plain:
        for name, of in value.items():
            yield from _changed(f"{key}.{name}", of, plain.get(name))
    elif value != plain:
        yield override(key, value)


def command_again(module: str, folder: Path, options: Sequence[str], beside: Sequence[str]) -> str:
    """The command that fits what was found again, for a shell; secrets in it are masked.

    Args:
        module: what the sweep ran.
        folder: the folder of the sweep.
        options: arguments that say where the config of the sweep lies, such as `--config-dir` and its folder.
        beside: overrides of the log, and of where things lie.
    """
    found = with_folder(options, str(folder / FINAL))
    return command("python", "-m", module, *found, *map(masked_override, beside), f"experiment={RECIPE}")


def with_folder(options: Sequence[str], folder: str) -> list[str]:
    """Arguments that say where a config lies, with a further folder of yaml files. Hydra takes one `--config-dir`."""
    if "--config-dir" not in options:
        return ["--config-dir", folder, *options]
    searched = next((each for each in options if each.startswith(f"{SEARCH_PATH}=")), None)
    places = [] if searched is None else OverridesParser.create().parse_override(searched).value()
    assert isinstance(places, list), "Hydra has taken it for one"
    listed = ",".join(in_quotes(str(place)) for place in [*places, f"file://{folder}"])
    return [*(each for each in options if each != searched), f"{SEARCH_PATH}=[{listed}]"]


def gain_lines(
    records: Sequence[Record], best: Record, reached: Reached, objectives: Sequence[str], final: Any = None
) -> list[str]:
    """What the search has gained on validation, and what its result is worth on the test part; a sentence each.

    Args:
        records: of all trials of the search.
        best: of the best trial; of several seeds, of the first one.
        reached: what the points of the search have reached.
        objectives: the dotted paths of the values that were optimised.
        final: what the final fit returned; None if it did not finish.
    """
    num_pruned, at_best = sum(r.state is State.pruned for r in records), reached.best(reached.finished)
    lines = [
        f"{len(records)} trials, {num_pruned} of them stopped early, {sum(r.seconds for r in records) / 60:.0f} minutes"
        f" of trials; {objectives[0]} {at_best:.4f} at best (trial {best.number})"
    ]
    if reached.known:
        before = reached.best(reached.known)
        gained = before - at_best if reached.minimize else at_best - before
        lines.append(f"the points known before reached {before:.4f}: the search gained {gained:+.4f}")
    if len(reached.finished) > 1 and len(set(reached.finished)) == 1:
        part = "test" if is_reported(objectives[0]) else "validation"
        lines.append(
            f"all that have finished reached the same value, so nothing was chosen by it: the {part} part does not"
            f" tell them apart, and the notes on the dataset in {best.number}/{LOG_FILE} may say why"
        )
        return [*lines, *_test_lines(final)]
    is_seen = len(reached.finished) > 1 and any(map(is_reported, objectives))
    if len(reached.finished) > 1:
        said = CHOSEN_ON_TEST if is_seen else "the test part was not looked at"
        lines.append(f"the best of {len(reached.finished)} was chosen by this value, which flatters it; {said}")
    return [*lines, *_test_lines(final, is_seen)]


def _test_lines(final: Any, is_seen: bool = False) -> list[str]:
    """The final fit on the test part, with its interval, and the best baseline beside it.

    Args:
        is_seen: whether the search has chosen on that part.
    """
    if not isinstance(final, Mapping) or "metrics" not in final:
        return []
    name = f"ndcg@{final['k']}"
    low, high = final["intervals"]["towers"][name]
    seen = ", and the search has chosen on this part" if is_seen else ""
    lines = [f"test part, {name}: {final['metrics'][name]:.4f} ({low:.4f} to {high:.4f}, 95 % over users{seen})"]
    measured = {baseline: values[name] for baseline, values in final.get("floors", {}).items() if name in values}
    if measured:
        best = max(measured, key=lambda baseline: measured[baseline])
        low, high = final["intervals"][best][name]
        lines.append(f"best baseline: {best}, {measured[best]:.4f} ({low:.4f} to {high:.4f})")
        if ahead := final.get("ahead"):  # a final fit of before it was measured has none
            difference, low, high = ahead["towers"][best][name]
            lines.append(f"the difference, paired by user: {difference:+.4f} ({low:+.4f} to {high:+.4f})")
    return lines
