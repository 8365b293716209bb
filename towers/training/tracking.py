"""Experiment tracking with W&B: offline unless told otherwise. Lineage itself lives in our manifests."""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from data.artifacts.errors import ConfigError


class TrackingMode(Enum):
    offline = "offline"  # runs lie under `folder`; `wandb sync` sends them later
    online = "online"  # needs WANDB_API_KEY in the environment
    off = "off"


@dataclass(kw_only=True, slots=True)
class TrackingConfig:
    """Where runs are tracked.

    Attributes:
        folder: of offline runs and of W&B's own files; relative to where the entry point was started.
    """

    mode: TrackingMode = TrackingMode.offline
    project: str = "twotower"
    folder: str = "./var/wandb"

    def __post_init__(self) -> None:
        self.folder = str(Path(self.folder).expanduser().absolute())  # Ray Train's workers start elsewhere


def run_reference(config: TrackingConfig, run: str) -> dict[str, str] | None:
    """Project and run, for lineage; None where nothing is tracked."""
    return None if config.mode is TrackingMode.off else {"project": config.project, "run": run}


class Tracker:
    """One W&B run; does nothing when tracking is off.

    What is done to one model (train, evaluate, compare: the `kind`) is one group, named after it; or else a sweep is.
    Each is a run of its own: two offline runs of one id overwrite each other when they are sent.
    """

    def __init__(
        self,
        config: TrackingConfig,
        name: str,
        values: dict[str, Any],
        kind: str = "train",
        group: str | None = None,
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

        settings, run = wandb.Settings(silent=True), name if kind == "train" else f"{name}-{kind}"
        self._run = wandb.init(
            project=config.project, name=run, id=run, group=group or name, job_type=kind, resume="allow",
            mode=config.mode.value, dir=config.folder, config=values, settings=settings,
        )  # fmt: skip

    def log(self, values: dict[str, float], step: int) -> None:
        if self._run is not None:
            self._run.log(values, step=step)

    def show(
        self,
        summary: dict[str, float],
        tables: dict[str, tuple[list[str], list[list[Any]]]],
        images: dict[str, Path] | None = None,
    ) -> None:
        """A finished measurement: numbers for the run table, tables as (columns, rows), and image files."""
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
        if self._run is not None:
            self._run.finish()
