"""Removes old releases, and what dead processes left behind: `python -m serve.prune keep=3`.

What is live, and what a rollback would go back to, stays. Only collections that a release of this registry names are
ever dropped: a Milvus may be shared.
"""

from dataclasses import dataclass

from data.artifacts.errors import ConfigError
from data.artifacts.seals import is_sealed, leftovers, remove_sealed
from data.cluster.console import ProgressReporter
from serve.index.collection import drop
from serve.index.config import IndexConfig
from serve.releases.in_progress import Fate, UnderWay
from serve.releases.registry import Registry

GRACE_S = 6 * 3600
"""A release that is being published for longer than this is taken for dead."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Ids of the releases that were removed, and names of collections and folders that belonged to none."""

    releases: list[str]
    leftovers: list[str]


def prune(
    config: IndexConfig, registry: Registry, keep: int, progress: ProgressReporter = print, grace_s: float = GRACE_S
) -> Pruned:
    """Keeps the newest releases and those in use.

    Raises:
        ValueError: keep is below 1.
        IndexUnavailable: Milvus does not answer; run it again, and it goes on.
    """
    if keep < 1:
        raise ConfigError(f"keep: {keep} must be at least 1")
    with registry.locked():
        ids, live = registry.ids(), registry.live()
        used = {live.previous, *live.held()} if live is not None else set()
        old = [id_ for id_ in ids[:-keep] if id_ not in used]
        for id_ in old:  # from here on it is no release, and its collection is known to be one of nobody
            registry.marks.set(id_, registry.manifest(id_)["collection"], Fate.pruned)
            remove_sealed(registry.path(id_))
            progress(f"prune: release {id_}")
        found = [mark for mark in registry.marks.all() if mark.fate is Fate.pruned or mark.is_left(grace_s)]
        dropped = [mark.collection for mark in found if _finish(config, registry, mark) and mark.release not in old]
    folders = leftovers(registry.folder, grace_s)
    for folder in folders:
        folder.delete()
    left = [*dropped, *(folder.name for folder in folders)]
    for name in left:
        progress(f"prune: {name}, left behind")
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
