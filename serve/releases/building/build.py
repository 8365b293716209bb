"""From a draft to a release: gate, Milvus collection, recall check, seal. `serve.publish` and `serve.refresh` share it.

The item vectors go into a Milvus collection of the release's own. Only when the collection has been counted and
searched is the release's folder sealed, and only then does the release exist.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa

from data.artifacts.folders import MANIFEST
from data.artifacts.json_text import DamagedFile, shaped
from data.artifacts.leases import LeaseLost, Lock
from data.artifacts.seals import NotSealed, is_sealed, open_sealed
from data.cluster.console import ProgressReporter
from data.cluster.machine import give_back_memory
from serve.index.collection import drop, write_collection
from serve.index.collection_names import collection_name
from serve.index.config import IndexConfig
from serve.releases.audit.publications import PUBLISHED, publication, record_publication
from serve.releases.building.draft import ReleaseDraft
from serve.releases.building.seal import seal_release
from serve.releases.in_progress import Operation
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.releases.verify import ADDRESS, check_recall, count_items, other_milvus
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.opening.parts import VECTORS_FILE

ALGORITHM = "index_algorithm"
"""Entry of a release's manifest: the `index.algorithm` by which its collection was made."""

Gate = Callable[[Checkpoint, ReleaseRegistry], dict[str, Any] | None]
"""Returns what the manifest says of the gate, or raises GateError; a `Gatekeeper` is one."""


def build_release(
    config: IndexConfig,
    registry: ReleaseRegistry,
    draft: ReleaseDraft,
    verb: str,
    progress: ProgressReporter,
    gatekeeper: Gate | None,
) -> None:
    """Makes the release, unless it exists with all of its files and its whole collection already; the history says so.

    One whose manifest is damaged is made anew.

    Args:
        verb: the command in whose name progress is reported.
        gatekeeper: runs the gate; None skips it.

    Raises:
        GateError: the gate holds the draft back.
        IndexUnavailable: Milvus failed.
        ReleaseError: a search in the collection does not find what exact search finds; or the release was published to
            another Milvus, has to be made again, and may not move.
        Where any of these is raised, there is no release, and no collection is left.
    """
    with registry.locked(draft.id) as lock:
        before: str | None = None
        if (manifest := _sealed(registry, draft.id, verb, progress)) is not None:
            before = manifest["collection"]
            if (wrong := _wrong_with(config, registry, draft, before)) is None:
                progress(f"{verb}: release {draft.id} is already published")
                record_publication(registry.folder, manifest)  # the process that did it may have been killed
                return
            _require_same_milvus(config, draft, manifest, wrong)
            progress(f"{verb}: {wrong}; publishing the release again")
        _build(config, registry, draft, verb, progress, gatekeeper, lock, before)


def _sealed(registry: ReleaseRegistry, release_id: str, verb: str, progress: ProgressReporter) -> dict[str, Any] | None:
    """The manifest of a release that was sealed before; None where there is none, or a damaged one, which is said."""
    if not is_sealed(folder := registry.path(release_id)):
        return None
    try:
        manifest = registry.manifest(release_id)
        return shaped(manifest, f"{folder}/{MANIFEST}", _naming_a_collection, "the manifest of a release")
    except (ReleaseError, DamagedFile) as e:
        named = collection_name(release_id).rpartition("_")[0]
        progress(f"{verb}: {e}; publishing the release again. If Milvus has its former collection, {named}_*, drop it")
        return None


def _naming_a_collection(manifest: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(named := manifest["collection"], str):
        raise TypeError(f"collection is {named!r}")
    return manifest


def _require_same_milvus(config: IndexConfig, draft: ReleaseDraft, manifest: dict[str, Any], wrong: str) -> None:
    """Refuses to make a release again in another Milvus than before, unless that is meant.

    Those who serve it would find it in neither: the address is most often one that was forgotten, so that the default
    stands in its place.

    Raises:
        ReleaseError: it was published elsewhere.
    """
    made_at, here = other_milvus(config, manifest), f"{config.address}"
    if made_at is not None and not draft.may_move:
        raise ReleaseError(
            f"index.uri: {here}: release {draft.id} was published to {made_at}, and here {wrong}; nothing has changed."
            f" Give index.uri={made_at}; or, to have its collection made here from now on, type index.uri={here} with"
            " serve.publish"
        )


def _wrong_with(config: IndexConfig, registry: ReleaseRegistry, draft: ReleaseDraft, collection: str) -> str | None:
    """What is wrong with a release that was sealed before, in words; None where it is whole."""
    try:
        manifest = open_sealed(registry.path(draft.id), "release", verify=True)
        if count_items(config, collection) != draft.parts.items.num_ids:
            return f"the collection of release {draft.id} is incomplete"
        if VECTORS_FILE in manifest["files"]:
            check_recall(config, collection, registry.open_served(draft.id).parts, "it is made again")
    except (NotSealed, ReleaseError) as e:
        return f"{e}"
    return None


def _build(
    config: IndexConfig,
    registry: ReleaseRegistry,
    draft: ReleaseDraft,
    verb: str,
    progress: ProgressReporter,
    gatekeeper: Gate | None,
    lock: Lock,
    before: str | None,
) -> None:
    """Builds the release.

    Args:
        before: the collection of the release that this one replaces, which the next `serve.prune` drops: replicas that
            search in it find the new one when it is gone.
    """
    started, parts, collection = time.perf_counter(), draft.parts, collection_name(draft.id)
    gate = gatekeeper(parts, registry) if gatekeeper is not None else None
    registry.in_progress.set(draft.id, collection, Operation.publish)
    give_back_memory()
    batches = _with_progress(draft.embed_items(), parts.items.num_ids, verb, progress)
    num_items = write_collection(config, collection, batches, parts.items.features, parts.model.config.embedding_dim)
    give_back_memory()
    try:
        recall = check_recall(config, collection, parts, "run the command again; index.algorithm=flat is exact")
        measured = {"collection": collection, "num_items": num_items, "index_recall@20": recall, "gate": gate}
        measured |= {ALGORITHM: config.algorithm.name, ADDRESS: f"{config.address}"}
        measured |= {PUBLISHED: publication(verb, draft.id, draft.recorded)}
        lock.require()
        if before is not None:  # as long as the release is not sealed anew, it is still used
            registry.in_progress.set(draft.id, before, Operation.prune)
        seal_release(registry, draft, measured)
    except LeaseLost:  # the collection is the one that the new holder of the lock builds
        raise
    except BaseException:  # also for Ctrl-C: no sealed release would name the collection
        if not _is_sealed_with(registry, draft.id, collection):
            drop(config, collection)
        raise
    registry.in_progress.clear(collection)
    record_publication(registry.folder, measured)
    seconds = time.perf_counter() - started
    progress(
        f"{verb}: release {draft.id}, {num_items:,} items in {collection}, recall@20 {recall:.3f}, {seconds:.1f} s"
    )


def _is_sealed_with(registry: ReleaseRegistry, release_id: str, collection: str) -> bool:
    """Whether the release was sealed with this collection before what followed failed."""
    try:
        return registry.manifest(release_id).get("collection") == collection
    except ReleaseError:  # there is none, or the damaged one that was to be replaced
        return False


def _with_progress(
    batches: Iterable[pa.Table], total: int, verb: str, progress: ProgressReporter
) -> Iterator[pa.Table]:
    """The same batches; reports after each how many items have been written."""
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        progress(f"{verb}: {done:,} of {total:,} items written")
