"""Divides the traffic: `python -m serve.split traffic.name=homepage traffic.shares.ID=0.1`. No shares: it is over."""

import time
from typing import TYPE_CHECKING, Any

from data.prepare import Say
from data.storage import Folder
from serve.experiment import Experiment, TrafficConfig
from serve.index import IndexConfig
from serve.pointer import now
from serve.promote import told
from serve.release import Registry
from serve.switch import Switched, share, switch
from serve.verify import verify

if TYPE_CHECKING:
    from conf.schema import Config


def split(
    config: IndexConfig, registry: Registry, traffic: TrafficConfig, within_s: float, say: Say = print
) -> Switched:
    """Begins an experiment, every release of it verified and held by all replicas first, or ends the one that runs.

    Raises:
        ReleaseError, NotSealed, CheckpointError: a release is missing or not sound; nothing has changed.
        PointerError: nothing is live, or the live release is among the shares.
    """
    if not traffic.shares:
        return switch(registry, registry.chosen(None), within_s, say)
    for release_id in traffic.shares:
        verify(config, registry, release_id, say)
    return share(registry, Experiment(traffic.name, dict(traffic.shares), now()), within_s, say)


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
