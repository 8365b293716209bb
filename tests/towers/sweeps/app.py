"""A Hydra app whose trials do as told: `python -m tests.towers.sweeps.app -m what=finish,raise hydra/launcher=ray`."""

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig

from towers.sweeps.trial import Pruned, current_sweep, current_trial

BEGAN = "began"


@dataclass
class Told:
    """What a trial does, and values to tell trials apart."""

    what: str = "finish"
    plan: dict[str, str] = field(default_factory=dict)
    """What the trials t0, t1, ... do instead."""
    number: int = 0
    x: float = 0.0
    seed: int = 0
    epochs: int = 0
    cpus: float = 0.0
    """Of a worker that the trial asks for, and leaves alone."""
    cramped: int | None = None
    """The trial with this number asks for a node with little memory, all others for one with ample memory."""
    unless: str = ""
    """A file: where it is there, whatever was to go wrong goes well."""


ConfigStore.instance().store(name="told", node=Told)


def demand(told: Told) -> tuple[list[dict[str, float]], dict[str, str]]:
    """What the launcher reserves for a trial."""
    if told.cramped is not None:
        return [{"little_memory" if told.number == told.cramped else "ample_memory": 1.0}], {}
    return [{"CPU": told.cpus}] if told.cpus else [], {}


def run(told: Told) -> dict[str, Any]:
    """Reports `epochs` epochs, then does `what`."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / BEGAN).write_text(str(os.getpid()))
    trial = current_trial()
    for epoch in range(1, told.epochs + 1):
        time.sleep(0.05)
        if trial is not None and not trial.report_epoch(epoch, {"value": value(told) * epoch / told.epochs}):
            raise Pruned(f"after epoch {epoch}")
    what = told.plan.get(f"t{told.number}", told.what)
    if told.unless and Path(told.unless).exists():
        what = "finish"
    if what == "raise":
        raise ValueError(f"number: {told.number} is not wanted")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(600)
    if what == "wait" and trial is not None:
        for _ in range(16):
            trial.report_alive()
            time.sleep(0.5)
    training = {"best_value": value(told), "seconds": 1.0 + told.number}
    threads = os.environ.get("OMP_NUM_THREADS")
    return {"training": training, "pid": os.getpid(), "threads": threads, "sweep": current_sweep()}


def value(told: Told) -> float:
    """Best at x = .3; a little else by seed."""
    return 1 - (told.x - 0.3) ** 2 + 0.01 * told.seed


if __name__ == "__main__":
    # No decorator: it would set Hydra's version for every process that imports this.
    hydra.main(config_path=None, config_name="told", version_base="1.3")(run)()
