"""Removes old releases, and what dead processes left behind: `python -m serve.prune keep=3`.

What is live, and what a rollback would go back to, stays. Only collections that a release of this registry names are
ever dropped: a Milvus may be shared.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.prepare import Say
from data.storage import Folder, is_sealed, leftovers, remove_sealed
from serve.collection import drop
from serve.fleet import Fleet
from serve.index import IndexConfig
from serve.release import Registry
from serve.under_way import Fate, UnderWay

if TYPE_CHECKING:
    from conf.schema import Config

GRACE_S = 6 * 3600
"""A release that is being published for longer than this is taken for dead."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Ids of the releases that were removed, and names of collections and folders that belonged to none."""

    releases: list[str]
    leftovers: list[str]


def prune(config: IndexConfig, registry: Registry, keep: int, say: Say = print, grace_s: float = GRACE_S) -> Pruned:
    """Keeps the newest releases and those in use.

    Raises:
        ValueError: keep is below 1.
        IndexUnavailable: Milvus does not answer; run it again, and it goes on.
    """
    if keep < 1:
        raise ValueError(f"keep: {keep} must be at least 1")
    with registry.locked():
        ids, live = registry.ids(), registry.live()
        used = {live.previous, *live.held()} if live is not None else set()
        old = [id_ for id_ in ids[:-keep] if id_ not in used]
        for id_ in old:  # from here on it is no release, and its collection is known to be one of nobody
            registry.marks.set(id_, registry.manifest(id_)["collection"], Fate.pruned)
            remove_sealed(registry.path(id_))
            say(f"prune: release {id_}")
        found = [mark for mark in registry.marks.all() if mark.fate is Fate.pruned or mark.is_left(grace_s)]
        dropped = [mark.collection for mark in found if _finish(config, registry, mark) and mark.release not in old]
    Fleet.of(registry.folder).bury()
    folders = leftovers(registry.folder, grace_s)
    for folder in folders:
        folder.delete()
    left = [*dropped, *(folder.name for folder in folders)]
    for name in left:
        say(f"prune: {name}, left behind")
    return Pruned(old, left)


def _finish(config: IndexConfig, registry: Registry, mark: UnderWay) -> bool:
    """Drops the collection that a dead process left, unless the release was sealed with it; says whether it did."""
    folder = registry.path(mark.release)
    is_used = is_sealed(folder) and registry.manifest(mark.release)["collection"] == mark.collection
    if not is_used:
        drop(config, mark.collection)
        if not is_sealed(folder):
            folder.delete()
    registry.marks.clear(mark.collection)
    return not is_used


def task(config: "Config") -> dict[str, Any]:
    """Entry point: keeps `keep` releases."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    pruned = prune(config.index, registry, config.keep)
    kept = registry.ids()
    print(f"prune: releases left: {len(kept)}, {time.perf_counter() - started:.1f} s. Next: python -m serve.releases")
    return {"pruned": pruned.releases, "leftovers": pruned.leftovers, "kept": kept}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.prune")
