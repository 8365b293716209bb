"""What every entry point shares: Hydra in front, one clear line for a mistake, `summary.json` at the end."""

import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from data.artifacts.errors import ConfigError, one_line
from data.artifacts.structured import typed

FOLDER = Path(__file__).parent
TRACEBACK = "HYDRA_FULL_ERROR"
MISTAKE, INTERRUPTED = 2, 130
"""Exit statuses: a user's mistake, Ctrl-C."""


def launch(module: str) -> None:
    """Runs `module.task(config)` under Hydra; what it returns is written as summary.json into the run's folder.

    A mistake (ValueError, OSError, or Hydra's own complaint) ends in one line on stderr and status 2;
    HYDRA_FULL_ERROR=1 shows the traceback.
    """
    from conf.schema import register

    register()
    task = _command(module).task

    wants_traceback = os.environ.get(TRACEBACK) == "1"

    def run(values: DictConfig) -> Any:
        with nullcontext() if _is_trial() else one_line_for_mistakes(wants_traceback):
            summary = task(typed(values))
        (run_folder() / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        return summary

    os.environ[TRACEBACK] = "1"  # Hydra then lets errors through to here, instead of printing them over many lines
    run.__module__ = module  # from which Hydra takes the name of the run's folder
    with one_line_for_mistakes(wants_traceback):
        sys.argv = expanded(sys.argv)
        hydra.main(config_path=str(FOLDER), config_name="config", version_base="1.3")(run)()


def _command(module: str) -> ModuleType:
    """The module of a command: `serve.promote`, or the `__main__` of a package, such as `serve.releases`."""
    found = importlib.import_module(module)
    return found if hasattr(found, "task") else importlib.import_module(f"{module}.__main__")


def expanded(arguments: Sequence[str]) -> list[str]:
    """`seeds=3` of a sweep is `seed=0,1,2`: each point three times.

    Raises:
        ValueError: it is no number, or there is no sweep.
    """
    found = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name != "seeds":
            found.append(argument)
            continue
        if not value.isdigit() or int(value) < 1 or not {"-m", "--multirun"} & set(arguments):
            raise ConfigError(f"seeds: {value!r} must be a whole number above 0, in a sweep (-m)")
        found.append(f"seed={','.join(map(str, range(int(value))))}")
    return found


def _is_trial() -> bool:
    """Is this one of a sweep's jobs? Then its mistake is the launcher's to tell, and others go on."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def run_folder() -> Path:
    """The folder of the entry point's run, where it leaves what people look at."""
    return Path(HydraConfig.get().runtime.output_dir)


@contextmanager
def one_line_for_mistakes(wants_traceback: bool) -> Iterator[None]:
    """Ends the process with one line on stderr where the block raises what a user can mend."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as e:
        if wants_traceback:
            raise
        print(f"error: {one_line(e)}", file=sys.stderr)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
