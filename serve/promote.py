"""Makes a release live: `python -m serve.promote release=ID`; `percent=5` gives it 5 % of the users, as a canary.

Endpoints that run change over under traffic, all replicas at once.
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.releases.registry import Registry
from serve.rollout.promotion import promote, told

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    before = registry.live()
    switched = promote(config.index, registry, config.release, config.serve.ready_within_s, percent=config.percent)
    live, was = switched.live, before.release if before else "nothing"
    seconds = time.perf_counter() - started
    if live.experiment is not None:
        (canary,) = live.others
        print(
            f"promote: {canary} answers {config.percent:g} % of the users, {live.release} the others, {seconds:.1f} s"
        )
        print(f"  {told(switched)}")
        print(f"Next: python -m serve.promote release={canary}, or python -m serve.rollback")
    else:
        print(f"promote: {live.release} is live (before: {was}), {seconds:.1f} s; {told(switched)}")
        print("Next: python -m serve.run, or python -m serve.rollback" if before else "Next: python -m serve.run")
    return {"release": live.release, "previous": live.previous, "others": live.others, "replicas": switched.replicas}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.promote")
