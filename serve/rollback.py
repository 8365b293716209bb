"""Back to the release that served before: `python -m serve.rollback`; while a canary or an experiment runs, it is over.

Running it again changes nothing more. `reason='...'` is kept with the pointer.
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.releases.registry import Registry
from serve.rollout.promotion import told
from serve.rollout.switch import BEFORE_S, back

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    before = registry.live()
    switched = back(registry, BEFORE_S, config.reason)
    live = switched.live
    seconds = time.perf_counter() - started
    if before is not None and before.experiment is not None:
        print(f"rollback: {live.rolled_back} has no share any more, {live.release} answers all, {seconds:.2f} s")
    elif before is not None and live.release == before.release:
        print(f"rollback: {live.release} is live since {live.promoted_at}, after a rollback of {live.rolled_back}")
        print("Next: to go further back, python -m serve.promote release=ID (python -m serve.releases names them)")
    else:
        print(f"rollback: {live.release} is live again, {live.rolled_back} is not, {seconds:.2f} s; {told(switched)}")
        print(f"Next: python -m serve.verify release={live.rolled_back}")
    return {"release": live.release, "rolled_back": live.rolled_back}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.rollback")
