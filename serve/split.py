"""Divides the users between releases: `python -m serve.split traffic.name=homepage traffic.shares.ID=0.1`.

Without shares, the running experiment ends, and the live release answers all users.

Examples:
    python -m serve.split traffic.name=homepage traffic.shares.ID=0.1
    python -m serve.split
"""

import time
from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.folders import Folder
from data.cluster.typed_commands import override
from serve.experiments.assignment import in_percent
from serve.releases.registry import ReleaseRegistry
from serve.rollout.promotion import describe, ended_by, split

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Begins the experiment that `traffic` describes, or ends the running one."""
    started = time.perf_counter()
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    before = registry.live()
    rollout = split(config.index, registry, config.traffic, config.serve.ready_within_s)
    live, seconds = rollout.live, time.perf_counter() - started
    if ended := ended_by(before, live):
        print(f"split: {ended}")
    if live.experiment is None:
        print(f"split: {live.release} answers all users, {seconds:.1f} s; {describe(rollout)}")
        return {"release": live.release, "shares": {}}
    for variant, share in live.experiment.variants.items():
        print(f"split: {in_percent(share):>6} {variant}")
    print(f"split: {live.experiment.name} runs, {seconds:.1f} s; {describe(rollout)}")
    named = override("traffic.name", live.experiment.name)
    print(f"Next: {next_command('serve.lift', named, 'outcomes=...')}")
    return {"release": live.release, "experiment": live.experiment.name, "shares": live.experiment.variants}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.split")
