"""Makes the Milvus collection of a release again, of the release's own files: `serve.publish release=ID`.

The release stays what it is, with its id, its files, the moment when it was sealed and the verdict of the gate. So also
one comes back that was made by `serve.refresh`, or whose checkpoint is gone.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import finish, whole_copy
from data.cluster.console import ProgressReporter
from serve.index.config import Algorithm, IndexConfig
from serve.releases.building.build import ALGORITHM, build_release
from serve.releases.building.draft import ReleaseDraft
from serve.releases.golden_queries import GOLDEN_FILE, check_golden
from serve.releases.model_card import CARD_FILE
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.batch_embedding import embedded_items
from towers.checkpoint.opening.parts import VECTORS_FILE

SEALED_ANEW = (VECTORS_FILE, CARD_FILE)
"""Files that `seal_release` writes itself; they come out as they were, but for the collection's name on the card."""


def restore_collection(
    config: IndexConfig,
    registry: ReleaseRegistry,
    release_id: str,
    progress: ProgressReporter = print,
    may_move: bool = False,
) -> None:
    """Makes the collection of a release again, unless it has all of its items as they should be.

    It gets the vector index that it had, whatever `index.algorithm` is now, see `as_published`, and keeps its golden
    queries, which must come out here: the check in each replica would else be of the code that restores it.

    Args:
        may_move: whether it may be made in another Milvus than the one to which the release was published.

    Raises:
        ReleaseError, NotSealed, CheckpointError: there is no such release, its files are damaged, or it does not
            reproduce its golden queries: its collection would be one that no replica serves.
        IndexUnavailable: Milvus failed; the release has the collection that it had.
    """
    complete(registry, release_id, progress)
    release = registry.open(release_id)
    _require_same_answers(release)

    def write_model(folder: Folder) -> None:
        for name in release.manifest["files"]:
            if name not in SEALED_ANEW:
                folder.share(name, release.parts.folder)

    draft = ReleaseDraft(
        id=release.id,
        parts=release.parts,
        manifest_entries={"created_at": release.manifest["created_at"]},
        embed_items=lambda: embedded_items(release.parts, config.upsert_batch),
        write_model=write_model,
        may_move=may_move,
    )
    config = as_published(config, release_id, release.manifest, progress)
    build_release(config, registry, draft, "publish", progress, lambda *_: release.manifest.get("gate"))


def _require_same_answers(release: Release) -> None:
    """Raises ReleaseError unless the release answers here as it did when it was published; an old one cannot tell."""
    if GOLDEN_FILE in release.manifest["files"]:
        try:
            check_golden(release)
        except ReleaseError as e:
            raise ReleaseError(
                f"{e}; nothing has changed. The code here is not that which published it: run this with that, or"
                " publish its checkpoint again"
            ) from e


def complete(registry: ReleaseRegistry, release_id: str, progress: ProgressReporter = print) -> None:
    """Completes a release whose replacement was interrupted: its files are whole beside its folder.

    Raises:
        ReleaseError, NotSealed: this can be no release's id; or a file has changed since it was sealed.
    """
    folder = registry.path(release_id)
    if whole_copy(folder) is not None:
        with registry.locked(release_id):
            if finish(folder):
                progress(f"publish: release {release_id} was sealed anew when that was interrupted; it is whole again")


def as_published(
    config: IndexConfig,
    release_id: str,
    manifest: Mapping[str, Any],
    progress: ProgressReporter = print,
    verb: str = "publish",
) -> IndexConfig:
    """The config with the `index.algorithm` by which a release was published; where that is another one, it is said.

    An earlier version has not recorded it, and Milvus Lite does not have all of them: then that of the config stays.

    Args:
        verb: the command in whose name it is said.
    """
    now = config.algorithm.name
    if (published := manifest.get(ALGORITHM)) is None:
        progress(f"{verb}: by which index.algorithm release {release_id} was published is not recorded; taking {now}")
        return config
    if published == now:
        return config
    said = f"{verb}: release {release_id} was published with index.algorithm={published}"
    try:
        config = replace(config, algorithm=Algorithm[published])
    except (ConfigError, KeyError):
        progress(f"{said}, which is not possible with index.uri={config.address}; taking {now}")
        return config
    progress(f"{said}, and the collection that is made now gets that, not {now}")
    return config
