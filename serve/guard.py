"""Watches releases on trial and rolls back those that are worse than the live one: `python -m serve.guard`.

serve.run does so by itself; this command watches an endpoint that runs elsewhere on the same storage. Each variant of
the running experiment is compared with control: the share of failed and of degraded answers, latency, and how much of
the catalogue is recommended. Where a variant exceeds a bound of conf/guard, by more than chance explains, the
experiment is rolled back, and the reason is kept with the live pointer.

Examples:
    python -m serve.guard
    python -m serve.guard guard.every_s=60
"""

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.rollout.guard import CanaryGuard

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Watches until Ctrl-C."""
    print(f"guard: checking every {config.guard.every_s:g} s; stop with Ctrl-C", flush=True)
    guard = CanaryGuard(config.guard, Folder.of(config.storage.root))
    with suppress(KeyboardInterrupt):
        guard.watch(threading.Event().wait)
    return {"stopped_at": time.time()}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.guard")
