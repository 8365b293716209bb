"""What every entry point shares: Hydra in front, one clear line for a mistake, `summary.json` at the end."""

import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

if TYPE_CHECKING:
    from conf.schema import Config

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
    task = importlib.import_module(module).task

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
            raise ValueError(f"seeds: {value!r} must be a whole number above 0, in a sweep (-m)")
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


def typed(values: DictConfig) -> "Config":
    """The one place where a DictConfig becomes dataclasses; `__post_init__` checks them."""
    missing = sorted(OmegaConf.missing_keys(values))
    if missing:
        raise ValueError(f"{', '.join(missing)}: must be given, e.g. {missing[0]}=...")
    config: Config = OmegaConf.to_object(values)  # type: ignore[assignment]
    return config


def one_line(error: BaseException) -> str:
    """A message on one line, with the key that it is about."""
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "full_key", None):
        cause = cause.__cause__
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
    key = getattr(cause, "full_key", None)
    return text if key is None or key in text else f"{key}: {text}"
