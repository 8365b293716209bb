"""Divides the traffic: `python -m serve.split traffic.name=homepage traffic.shares.ID=0.1`. No shares: it is over."""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.releases.registry import Registry
from serve.rollout.promotion import split, told

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    switched = split(config.index, registry, config.traffic, config.serve.ready_within_s)
    live, seconds = switched.live, time.perf_counter() - started
    if live.experiment is None:
        print(f"split: {live.release} answers all users, {seconds:.1f} s; {told(switched)}")
        return {"release": live.release, "shares": {}}
    for variant, part in live.experiment.variants.items():
        print(f"split: {part:6.1%} {variant}")
    print(f"split: {live.experiment.name} runs, {seconds:.1f} s; {told(switched)}")
    print(f"Next: python -m serve.lift traffic.name={live.experiment.name} outcomes=...")
    return {"release": live.release, "experiment": live.experiment.name, "shares": live.experiment.variants}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.split")
