"""Removes old releases, and what dead processes left behind: `python -m serve.prune keep=3`.

The live release and the one that a rollback would return to are kept. A Milvus server may be shared, so no collection
is dropped but those that the releases and in-progress markers of this registry name.

Examples:
    python -m serve.prune keep=3
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
    """Keeps the `keep` newest releases and those in use."""
    from serve.releases.prune import prune

    started = time.perf_counter()
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    pruned = prune(config.index, registry, config.keep)
    expire(ReplicaRegistry.of(registry.folder))
    kept = registry.ids()
    print(f"prune: releases left: {len(kept)}, {time.perf_counter() - started:.1f} s")
    print(f"Next: {next_command('serve.releases')}")
    return {"pruned": pruned.releases, "leftovers": pruned.leftovers, "kept": kept}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.prune")
