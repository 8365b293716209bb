"""Removes old releases, and what dead processes left behind: `python -m serve.prune keep=3`.

What is live, and what a rollback would go back to, stays. Only collections that a release of this registry names are
ever dropped: a Milvus may be shared.
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.releases.prune import prune
from serve.releases.registry import Registry
from serve.rollout.heartbeats import Fleet

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: keeps `keep` releases."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    pruned = prune(config.index, registry, config.keep)
    Fleet.of(registry.folder).bury()
    kept = registry.ids()
    print(f"prune: releases left: {len(kept)}, {time.perf_counter() - started:.1f} s. Next: python -m serve.releases")
    return {"pruned": pruned.releases, "leftovers": pruned.leftovers, "kept": kept}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.prune")
