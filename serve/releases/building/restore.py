"""Makes the Milvus collection of a release again, of the release's own files: `serve.publish release=ID`.

The release stays what it is, with its id, its files, the moment when it was sealed and the verdict of the gate. So also
one comes back that was made by `serve.refresh`, or whose checkpoint is gone.
"""

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from serve.index.config import IndexConfig
from serve.releases.building.build import build_release
from serve.releases.building.draft import ReleaseDraft
from serve.releases.golden_queries import GOLDEN_FILE
from serve.releases.model_card import CARD_FILE
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.batch_embedding import embedded_items
from towers.checkpoint.opening.parts import VECTORS_FILE

SEALED_ANEW = (VECTORS_FILE, GOLDEN_FILE, CARD_FILE)
"""Files that `seal_release` writes itself; they come out as they were, but for the collection's name on the card."""


def restore_collection(
    config: IndexConfig, registry: ReleaseRegistry, release_id: str, progress: ProgressReporter = print
) -> None:
    """Makes the collection of a release again, unless it has all of its items as they should be.

    Raises:
        ReleaseError, NotSealed, CheckpointError: there is no such release, or its files are damaged.
        IndexUnavailable: Milvus failed; the release has the collection that it had.
    """
    release = registry.open(release_id)

    def write_model(folder: Folder) -> None:
        for name in release.parts.folder.files():
            if name not in SEALED_ANEW:
                folder.share(name, release.parts.folder)

    draft = ReleaseDraft(
        id=release.id,
        parts=release.parts,
        manifest_entries={"created_at": release.manifest["created_at"]},
        embed_items=lambda: embedded_items(release.parts, config.upsert_batch),
        write_model=write_model,
    )
    build_release(config, registry, draft, "publish", progress, lambda *_: release.manifest.get("gate"))
