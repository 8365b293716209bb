"""Launches a sweep: connects to Ray, runs the trials of a source, and prints the results."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.utils import configure_log, setup_globals
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from data.artifacts.json_text import json_text
from data.cluster.typed_commands import command, override
from towers.sweeps.placement import TrialPlacer
from towers.sweeps.progress_table import ProgressTable, state_counts, unfinished_lines
from towers.sweeps.records import Record, Records, State
from towers.sweeps.results.summary import DEFAULT_METRIC, SWEEP_FILE, present_results
from towers.sweeps.reuse.inputs import InputsReader, changed_lines
from towers.sweeps.runner import SweepRunner
from towers.sweeps.session import connected, stop_on_interrupt
from towers.sweeps.settings import LauncherConfig
from towers.sweeps.trial_process import LOG_FILE, SweepContext, sweep_folder
from towers.sweeps.trial_sources import TrialSource


def earlier_records(folder: Path, inputs: InputsReader) -> list[Record]:
    """The records of earlier launches, of trials that would be run with the same inputs now.

    The others are set aside, with a line that says what differs, so that they neither count as done nor stand in the
    leaderboard beside trials of today.
    """
    records = Records(folder, inputs.typed_in)
    current, changed = inputs.split_changed(records.read())
    for line in changed_lines(changed):
        print(f"sweep: {line}")
    records.set_aside([record for record, _ in changed])
    return current


def launch(
    settings: LauncherConfig,
    sweep: SweepContext,
    source: TrialSource,
    inputs: InputsReader,
    *,
    overrides: Sequence[Sequence[str]],
    num_done: int,
    total: int,
) -> list[Record]:
    """Runs the trials of a source on Ray. Returns the records of those that ended in this launch.

    Args:
        settings: how trials are placed.
        sweep: what all trials share.
        source: gives the trials.
        inputs: finds what a trial is run with.
        overrides: the overrides of all trials, where they are known beforehand; for the progress table.
        num_done: number of trials that earlier launches have completed.
        total: number of trials, those of earlier launches included.
    """
    setup_globals()
    config, folder = sweep.config, sweep_folder(sweep.config)
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    folder.mkdir(parents=True, exist_ok=True)
    with open_dict(config):
        config.hydra.sweep.dir = str(folder)
    ran = {"module": command_module(sweep.task_function), "options": config_options(sys.argv[1:], config)}
    (folder / SWEEP_FILE).write_text(json_text(ran))
    if num_done:
        again = (
            "hydra.sweeper.study=NAME begins anew" if source.learns else "hydra.launcher.resume=false does them again"
        )
        print(f"sweep: {num_done} of {total} trials are done already ({again})")
    with (
        connected(settings, config) as can_grow,
        ProgressTable(overrides, num_done, total) as table,
        stop_on_interrupt() as stop,
    ):
        placer, records = TrialPlacer(settings, can_grow), Records(folder)
        ended = SweepRunner(settings, sweep, source, inputs, records, placer, table, stop).run()
    for line in unfinished_lines(ended):
        print(f"sweep: {line}")
    if ended:
        print(f"sweep: {state_counts(ended)}; output of each trial: {folder}/*/{LOG_FILE}")
    _present(folder, config)
    return ended


def _present(folder: Path, config: DictConfig) -> None:
    """Prints the leaderboard, or how to get one where none of several trials returned the metric of the sweep."""
    objectives = OmegaConf.select(config, "hydra.sweeper.objectives")
    metric = objectives[0].metric if objectives else DEFAULT_METRIC
    records = Records(folder).read()
    if any(record.state is State.finished and record.measured(metric) is not None for record in records):
        present_results(folder, metric)
    elif sum(isinstance(record.result, dict) for record in records) > 1:
        again = command("python", "-m", "towers.leaderboard", override("sweep", str(folder)), "metric=...")
        print(f"sweep: no trial returned {metric}; try {again}")


def config_options(arguments: Sequence[str], config: DictConfig) -> list[str]:
    """The arguments of a command that say where its config lies; overrides of single values are not among them."""
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    try:
        typed_in, _ = parser.parse_known_args(list(arguments))
    except ValueError:  # the arguments are those of another program that has composed the config, such as a notebook
        return []
    options = [("--config-dir", typed_in.config_dir), ("--config-path", typed_in.config_path)]
    options.append(("--config-name", typed_in.config_name))
    given = [argument for name, value in options if value is not None for argument in (name, value)]
    typed_for_hydra = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)  # it may name hydra.job.num
    assert isinstance(typed_for_hydra, list), "Hydra lists them"
    return [*given, *(each for each in typed_for_hydra if each.startswith("hydra.searchpath"))]


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def command_module(task_function: TaskFunction) -> str:
    """The module that was run by `python -m`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else task_function.__module__
