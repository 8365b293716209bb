"""Removes old releases, and what dead processes left behind: `python -m serve.prune keep=3`.

The live release and the one that a rollback would return to are kept. A Milvus server may be shared, so no collection
is dropped but those that the releases and in-progress markers of this registry name. Datasets and checkpoints that a
killed process had begun to write go too.

Datasets, checkpoints and trainings that laps of serve.cycle have made stay, and are counted, unless `laps=true`: then
those go that no release, no interrupted lap and no other checkpoint needs.

Examples:
    python -m serve.prune keep=3
    python -m serve.prune keep=3 laps=true
"""

import time
from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.heartbeats import ReplicaRegistry
from serve.rollout.replica_watch import expire

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Keeps the `keep` newest releases and those in use; with `laps`, of what laps have made what is needed."""
    from serve.laps.clearing import clear, left_by_laps
    from serve.releases.prune import clear_unfinished, prune

    started, storage = time.perf_counter(), Folder.of(config.storage.root)
    registry = ReleaseRegistry.of(storage)
    pruned = prune(config.index, registry, config.keep)
    leftovers = [*pruned.leftovers, *clear_unfinished(storage)]
    expire(ReplicaRegistry.of(registry.folder))
    left = left_by_laps(storage)
    if left and not config.laps:
        gib = sum(folder.num_bytes() for folder in left) / 2**30
        print(f"prune: laps have left {len(left)} folders ({gib:.2f} GiB) that nothing needs; with laps=true they go:")
        for folder in left:
            print(f"  {folder}")
    removed = clear(storage, left) if config.laps else []
    kept = registry.ids()
    print(f"prune: releases left: {len(kept)}, {time.perf_counter() - started:.1f} s")
    print(f"Next: {next_command('serve.releases')}")
    return {"pruned": pruned.releases, "leftovers": leftovers, "kept": kept, "laps": removed}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.prune")
