"""Watches what is on trial: `python -m serve.run` does so by itself, `python -m serve.guard` for an endpoint elsewhere.

Every variant of an experiment is held against control by what both have shown (serve/experiments/exposures.py): failures, degraded
answers, latency, and how much of the catalogue is shown in as many answers. What is past the bounds, and not by chance,
is rolled back, and the reason is kept.
"""

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.rollout.guard import Guard

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: watches until Ctrl-C."""
    print(f"guard: looking every {config.guard.every_s:g} s; stop with Ctrl-C", flush=True)
    guard = Guard(config.guard, Folder.of(config.storage.root))
    stop = threading.Event()
    with suppress(KeyboardInterrupt):
        guard.watch(stop.wait)
    return {"stopped_at": time.time()}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.guard")
