"""Experiment tracking with Weights & Biases (W&B). Lineage does not depend on W&B: it is in the manifests."""

import os
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.secrets import masked_override, recordable


class TrackingMode(Enum):
    """Whether runs are tracked, and where to."""

    offline = "offline"  # runs lie under `folder`; `wandb sync` sends them later
    online = "online"  # needs WANDB_API_KEY in the environment
    off = "off"


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """Where runs are tracked.

    Attributes:
        mode: whether runs are tracked, and where to.
        project: W&B project of all runs.
        folder: folder of offline runs and of W&B's own files; relative to where the command was started. The yaml files
            have it below the folder of the storage on this machine. A training worker on another machine writes into
            the folder of the same path there: share it, or track online.
    """

    mode: TrackingMode = TrackingMode.offline
    project: str = "twotower"
    folder: str = "./var/wandb"

    def __post_init__(self) -> None:
        self.folder = str(Path(self.folder).expanduser().absolute())  # Ray Train's workers start elsewhere


def run_reference(config: TrackingConfig, run: str) -> dict[str, str] | None:
    """Project and run as they are written into lineage; None where nothing is tracked."""
    return None if config.mode is TrackingMode.off else {"project": config.project, "run": run}


def attempt_of(config: TrackingConfig, tracked: str | None, epochs: int) -> str | None:
    """What the id of a training's W&B run ends in; None in one that an earlier version has begun.

    W&B drops values of steps that a run of the same id has already, so that a training which was removed and begun
    again would be shown by its old curve. A training that is resumed goes on with its run where it is tracked online;
    offline, where the second of two runs with one id replaces the first when they are sent, it begins another one.

    Args:
        tracked: of the saved progress.
        epochs: those that are complete.
    """
    if tracked is None or not epochs or config.mode is TrackingMode.online:
        return tracked
    return f"{tracked}-from-epoch-{epochs + 1}"


class Tracker:
    """One W&B run; has no effect when tracking is off.

    Training, evaluating and comparing a model are separate runs, and so are measurements by different values, because
    two offline runs with the same id overwrite each other when they are sent. They form one W&B group.

    Args:
        name: the name of the checkpoint or of the training.
        values: the configuration as JSON values; secrets in it are masked.
        kind: what the run does: train, evaluate or compare.
        group: the W&B group, a sweep's name in a sweep; None means `name`.
        apart: tells runs of the same name and kind apart, such as measurements by other values of `evaluate`.
        attempt: tells trainings of the same name apart (`attempt_of`); it is no part of the run's name in W&B.

    Raises:
        ConfigError: tracking is online, and there is no API key in the environment.
    """

    def __init__(
        self,
        config: TrackingConfig,
        name: str,
        values: dict[str, Any],
        kind: str = "train",
        group: str | None = None,
        apart: str | None = None,
        attempt: str | None = None,
    ) -> None:
        self._run = None
        if config.mode is TrackingMode.off:
            return
        if config.mode is TrackingMode.online and not os.environ.get("WANDB_API_KEY"):
            raise ConfigError("tracking=online: WANDB_API_KEY is not set; set it, or use tracking=offline")
        for variable in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
            os.environ.setdefault(variable, config.folder)
        Path(config.folder).mkdir(parents=True, exist_ok=True)
        import wandb

        run = "-".join(part for part in (name, kind if kind != "train" else None, apart) if part)
        id_ = run if attempt is None else f"{run}-{attempt}"
        has_secret = any(masked_override(argument) != argument for argument in sys.argv)
        settings = wandb.Settings(silent=True, x_disable_meta=has_secret)  # what W&B says of the process has its argv
        self._run = wandb.init(
            project=config.project, name=run, id=id_, group=group or name, job_type=kind, resume="allow",
            mode=config.mode.value, dir=config.folder, config=recordable(values), settings=settings,
        )  # fmt: skip

    def log(self, values: dict[str, float], step: int) -> None:
        """Logs the values of a step (an epoch)."""
        if self._run is not None:
            self._run.log(values, step=step)

    def show(
        self,
        summary: dict[str, float],
        tables: dict[str, tuple[list[str], list[list[Any]]]],
        images: dict[str, Path] | None = None,
    ) -> None:
        """Records a finished measurement.

        Args:
            summary: numbers for W&B's table of runs.
            tables: by name, columns and rows.
            images: by name, image files.
        """
        if self._run is None:
            return
        import wandb

        self._run.summary.update(summary)
        self._run.log({name: wandb.Table(columns=columns, data=rows) for name, (columns, rows) in tables.items()})
        self._run.log({name: wandb.Image(str(path)) for name, path in (images or {}).items()})

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self._run.finish()
