"""Removes old releases, and what processes that died left behind: the mechanism behind `python -m serve.prune`.

The live release and the one that a rollback would return to are kept. Of the other kept releases, Milvus frees the
memory: whatever opens one of them, such as a promotion, loads it again. A Milvus server may be shared, so no collection
is dropped but those that the releases and in-progress markers of this registry name.
"""

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

from data.artifacts.errors import ConfigError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.leases import Lock
from data.artifacts.records.json_files import left_out
from data.artifacts.seals import is_sealed, leftovers
from data.cluster.console import ProgressReporter
from serve.index.collection import drop, unload
from serve.index.config import IndexConfig
from serve.releases.audit.history import record
from serve.releases.in_progress import InProgress, Operation
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError

GRACE_S = 6 * 3600
"""Seconds. A process of another machine that has been publishing a release for longer counts as dead, and so does one
that has written nothing for longer into the folder that it was making."""

PRUNING = ".prune"
"""Name of the lock of a prune. It can be no release's id."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune has removed.

    Attributes:
        releases: ids of the removed releases.
        leftovers: names of removed collections and folders that belonged to no release.
    """

    releases: list[str]
    leftovers: list[str]


def prune(
    config: IndexConfig,
    registry: ReleaseRegistry,
    keep: int,
    progress: ProgressReporter = print,
    grace_s: float = GRACE_S,
) -> Pruned:
    """Removes all releases but the `keep` newest and those in use, and then all leftovers.

    One prune works at a time. It holds the lock of the live pointer only while it takes a single release out of use: a
    rollback or a recall waits neither for files that are deleted nor for Milvus to drop a collection.

    Raises:
        ConfigError: keep is below 1.
        ReleaseError: the live pointer is damaged, or names what can be no release: it is not known what is in use.
        IndexUnavailable: Milvus does not answer; when run again, it continues where it stopped.
    """
    if keep < 1:
        raise ConfigError(f"keep: {keep} must be at least 1")
    with registry.locked(PRUNING) as lock:
        ids, in_use = registry.ids(), _in_use(registry, registry.live())
        removed: list[str] = []
        try:
            for id_ in ids[:-keep]:
                if _unseal(registry, id_):
                    removed.append(id_)
                    progress(f"prune: release {id_}")
        finally:  # what is gone is in the history, also where Milvus then does not answer
            record(registry.folder, action="prune", releases=removed)
        markers = [
            marker
            for marker in registry.in_progress.all()
            if marker.operation is Operation.prune or marker.is_abandoned(grace_s)
        ]
        finished = [m for m in markers if _finish(config, registry, m, lock, grace_s, progress)]
        if kept := [id_ for id_ in ids if id_ not in removed and id_ not in in_use]:
            with closing(_idle(registry, kept)) as idle:
                unload(config, idle)
        folders = leftovers(registry.folder, grace_s)
        for folder in folders:
            lock.require()
            folder.delete()
    names = [*(m.collection for m in finished if m.release not in removed), *(folder.name for folder in folders)]
    for name in names:
        progress(f"prune: {name}, which belonged to no release")
    return Pruned(removed, names)


def _unseal(registry: ReleaseRegistry, release_id: str) -> bool:
    """Takes a release that is not in use out of the registry; returns whether it was one.

    The marker, set first, tells `_finish`, also that of a later prune, which folder and collection are to be removed.
    """
    with registry.locked() as lock:
        if release_id in _in_use(registry, registry.live()):
            return False
        collection = registry.manifest(release_id)["collection"]
        lock.require()
        registry.in_progress.set(release_id, collection, Operation.prune)
        registry.path(release_id).delete_file(MANIFEST)
        return True


def _idle(registry: ReleaseRegistry, ids: Iterable[str]) -> Generator[str, None, None]:
    """The collections of those releases that are still not in use, each under the lock of the live pointer.

    So a promotion that comes later has its collection loaded again, and waits for one collection at most.
    """
    for id_ in ids:
        with registry.locked() as lock:
            if id_ not in _in_use(registry, registry.live()):
                collection = registry.manifest(id_)["collection"]
                lock.require()
                yield collection


def clear_unfinished(storage: Folder, progress: ProgressReporter = print, grace_s: float = GRACE_S) -> list[str]:
    """Removes what killed processes left of datasets and checkpoints; returns their places below the storage root."""
    removed = []
    for kind in ("datasets", "checkpoints"):
        for folder in leftovers(storage / kind, grace_s):
            gib = folder.num_bytes() / 2**30
            folder.delete()
            removed.append(f"{kind}/{folder.name}")
            progress(f"prune: {removed[-1]} ({gib:.2f} GiB), which a killed process left")
    return removed


def _in_use(registry: ReleaseRegistry, live: LivePointer | None) -> set[str]:
    """The releases that the pointer names, each by its folder's name."""
    named = [] if live is None else [*filter(None, [live.previous]), *live.to_hold()]
    return {registry.path(id_).name for id_ in named}


def _finish(
    config: IndexConfig,
    registry: ReleaseRegistry,
    marker: InProgress,
    lock: Lock,
    grace_s: float,
    progress: ProgressReporter,
) -> bool:
    """Removes the folder and the collection of a marked release, unless it was sealed after all; returns whether so."""
    if marker.operation is Operation.prune and _is_being_published(registry, marker.release, grace_s):
        return False  # the release names this collection until it is sealed with another one
    try:
        folder = registry.path(marker.release)
        is_used = is_sealed(folder) and registry.manifest(marker.release)["collection"] == marker.collection
    except ReleaseError as e:
        left_out(f"what {marker.operation.name} has left of {marker.release!r} stays: {e}")
        return False
    lock.require()
    if not is_used:
        if not is_sealed(folder) and not _is_being_published(registry, marker.release, grace_s):
            folder.delete()
        if not drop(config, marker.collection) and marker.operation is Operation.prune:
            progress(
                f"prune: collection {marker.collection} is not in Milvus at {config.address}; if its release was"
                " published to another index.uri, it is still there: drop it"
            )
    registry.in_progress.clear(marker.collection)
    return not is_used


def _is_being_published(registry: ReleaseRegistry, release_id: str, grace_s: float) -> bool:
    """Whether a process that lives publishes the release: on an object store, its files come before it is sealed."""
    return any(
        marker.release == release_id and marker.operation is Operation.publish and not marker.is_abandoned(grace_s)
        for marker in registry.in_progress.all()
    )
