"""The entry point of every command: it loads the config by Hydra, runs the command, and reports errors in one line."""

import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from conf.chosen_plugins import chosen_plugins, config_folders, refuse_shadows
from conf.help import help_text, version, wants_help
from conf.overrides import complaint, expanded, refuse_completion_of_nothing, refuse_misspelt_types, with_release
from conf.run_files import sweeps_without_secrets, write_run_files
from conf.schema import FOLDER, composed, register, translated
from conf.single_run import composing_once
from conf.swept_groups import refuse_forgotten_sweep, refuse_swept_settings
from conf.verbs import refuse_unused
from data.artifacts.errors import UserError, one_line
from data.artifacts.json_text import json_text
from data.artifacts.operators import begin_command
from data.artifacts.plugins import use
from data.artifacts.secrets import without_passwords
from data.artifacts.structured import typed
from data.cluster.typed_commands import SUMMARY

TRAINS = "towers.train"
"""The command whose checkpoint others find by the summary of its run."""

TRACEBACK = "HYDRA_FULL_ERROR"
FAULT, MISTAKE, INTERRUPTED = 1, 2, 130
"""Exit statuses: an unexpected error, a user's mistake, Ctrl-C."""


def launch(module: str, program: str | None = None) -> None:
    """Runs `module.task(config)` under Hydra, and writes what it returns as summary.json into the run's folder.

    A mistake (a UserError, or an error of Hydra's about the config) ends in one line on stderr and status 2. Any
    other exception ends in one line that names a file with its traceback, and status 1. HYDRA_FULL_ERROR=1 shows the
    traceback of both. `--help` and `--version` are answered without Hydra's run.

    Args:
        module: the module of the command, such as `serve.promote`.
        program: what users type to start it; None means `python -m` and the module.
    """
    wants_traceback = os.environ.get(TRACEBACK) == "1"
    with one_line_for_errors(module, wants_traceback):
        refuse_completion_of_nothing(sys.argv[1:])
        sys.argv[1:] = with_release(module, sys.argv[1:])
        if _answers_at_once(module, program or f"python -m {module}"):
            return
        folders = config_folders(sys.argv[1:])
        refuse_shadows(folders, FOLDER)
        use(chosen_plugins(sys.argv[1:], [*folders, FOLDER]))
    register()
    task = _command(module).task  # sweeps find the module that it is in, by its name

    def run(values: DictConfig) -> Any:
        with nullcontext() if _is_trial() else one_line_for_errors(module, wants_traceback):
            _begin(module, values)
            try:
                refuse_unused(module, HydraConfig.get().overrides.task)
                refuse_forgotten_sweep(module, HydraConfig.get())
                use(values.plugins)
                config = typed(values)
                begin_command(module, HydraConfig.get().overrides.task)
            except OmegaConfBaseException as e:
                raise HydraException(one_line(e)) from e
            summary = task(config)
        (run_folder() / SUMMARY).write_text(json_text(summary, indent=2) + "\n")
        return summary

    os.environ[TRACEBACK] = "1"  # Hydra then raises errors here, instead of printing them over many lines
    run.__module__ = module  # Hydra names the run's folder after it
    with one_line_for_errors(module, wants_traceback):
        _refuse_misspelt_types(folders)
        sys.argv = translated(expanded(sys.argv))
        refuse_swept_settings(sys.argv[1:], str(FOLDER), "config")
        main = hydra.main(config_path=str(FOLDER), config_name="config", version_base="1.3")(run)
        try:
            with composing_once(sys.argv[1:], FOLDER), sweeps_without_secrets():
                main()
        except OmegaConfBaseException as e:  # while the config is composed
            raise HydraException(one_line(e)) from e


def _begin(module: str, values: DictConfig) -> None:
    """Writes what a run is begun with. A training's folder no longer names the checkpoint of an earlier run."""
    write_run_files(run_folder(), values)
    if module == TRAINS:
        (run_folder() / SUMMARY).unlink(missing_ok=True)


def _refuse_misspelt_types(folders: Sequence[Path]) -> None:
    typed_in = get_args_parser().parse_known_args(expanded(sys.argv[1:]))[0]
    refuse_misspelt_types(typed_in.overrides, partial(composed, folders=folders, name=typed_in.config_name))


def _answers_at_once(module: str, program: str) -> bool:
    """Prints the help or the version, where the arguments ask for it; returns whether they do."""
    arguments = sys.argv[1:]
    if "--version" in arguments:
        print(f"twotower {version()}")
        return True
    if not wants_help(arguments):
        return False
    more = config_folders(arguments)
    config = composed(get_args_parser().parse_known_args(arguments)[0].overrides, more)
    print(help_text(program, module, _command(module).__doc__ or "", config, [FOLDER, *more]))
    return True


def run_folder() -> Path:
    """Returns the folder of this run, where the command leaves its summary, tables and plots."""
    return Path(HydraConfig.get().runtime.output_dir)


@contextmanager
def one_line_for_errors(verb: str, wants_traceback: bool) -> Iterator[None]:
    """Ends the process with one line on stderr if the block raises; for a fault it names a file with the traceback."""
    try:
        yield
    except (UserError, HydraException) as e:
        if wants_traceback:
            raise
        print(f"error: {without_passwords(complaint(one_line(e), e), sys.argv[1:])}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as e:
        if wants_traceback:
            raise
        log = _traceback_file(verb)
        log.write_text(without_passwords("".join(traceback.format_exception(e)), sys.argv[1:]))
        said = without_passwords(one_line(e), sys.argv[1:])
        print(f"error: unexpected {type(e).__name__}: {said}; its traceback is in {log}", file=sys.stderr)
        sys.exit(FAULT)


def _traceback_file(verb: str) -> Path:
    """Returns a file in the run's folder or, before that exists, in the system's temporary folder."""
    if HydraConfig.initialized() and run_folder().is_dir():
        return run_folder() / "traceback.txt"
    return Path(tempfile.gettempdir()) / f"{verb}-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.getpid()}.traceback.txt"


def _command(module: str) -> ModuleType:
    """The module of a command: `serve.promote`, or the `__main__` of a package, such as `serve.releases`."""
    found = importlib.import_module(module)
    return found if hasattr(found, "task") else importlib.import_module(f"{module}.__main__")


def _is_trial() -> bool:
    """Whether this is a job of a sweep. The launcher then reports its errors, and the other jobs continue."""
    return HydraConfig.get().mode is RunMode.MULTIRUN
