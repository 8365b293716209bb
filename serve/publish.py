"""A checkpoint becomes a release: `python -m serve.publish checkpoint=...`.

Publishing the same checkpoint again finds the release that is there.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs

from data.prepare import Say
from data.storage import MANIFEST, Folder
from serve.build import Candidate, build, release_id
from serve.gate import Gatekeeper
from serve.index import IndexConfig
from serve.release import Registry
from towers.checkpoint import Checkpoint, open_checkpoint
from towers.embed import item_vectors
from towers.runs import open_for

if TYPE_CHECKING:
    from conf.schema import Config


def publish(
    config: IndexConfig, checkpoint: Checkpoint, storage: Folder, say: Say = print, keeper: Gatekeeper | None = None
) -> str:
    """Builds the release of a checkpoint and returns its id. Needs a Ray session.

    Args:
        keeper: of the gate; None lets everything through.

    Raises:
        GateError: it is held back.
        IndexUnavailable: Milvus failed.
        ReleaseError: the collection does not find what exact search finds.
        In each case there is no release, and no collection is left.
    """
    candidate = _candidate(config, checkpoint)
    build(config, Registry.of(storage), candidate, "publish", say, keeper)
    return candidate.id


def _candidate(config: IndexConfig, checkpoint: Checkpoint) -> Candidate:
    fingerprint = checkpoint.manifest["fingerprint"]

    def embedded() -> Iterable[pa.Table]:
        vectors = item_vectors(checkpoint, config.upsert_batch, config.embed_gpus)
        stream: Iterable[pa.Table] = vectors.iter_batches(batch_size=config.upsert_batch, batch_format="pyarrow")
        return stream

    def fill(staging: Folder) -> None:
        fs.copy_files(checkpoint.folder.path, staging.path, checkpoint.folder.filesystem, staging.filesystem)
        staging.filesystem.delete_file(f"{staging.path}/{MANIFEST}")

    return Candidate(
        id=release_id(checkpoint.manifest, fingerprint, config.algorithm.value),
        parts=checkpoint,
        told={"checkpoint": checkpoint.name, "checkpoint_fingerprint": fingerprint},
        embedded=embedded,
        fill=fill,
    )


def task(config: "Config") -> dict[str, Any]:
    """Entry point: publishes `checkpoint` (default: the one that this config trains)."""
    from conf.session import connect

    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    checkpoint = open_checkpoint(Folder.of(config.checkpoint)) if config.checkpoint else open_for(config)[0]
    id_ = publish(config.index, checkpoint, storage, keeper=gatekeeper(config))
    print(f"Next: python -m serve.promote release={id_}")
    manifest = Registry.of(storage).manifest(id_)
    names = ("collection", "metrics", "gate")
    return {"release": id_} | {name: manifest[name] for name in names}


def gatekeeper(config: "Config") -> Gatekeeper:
    """Of `gate`; with `force` it lets everything through, for the `reason`."""
    from conf.session import show

    if config.force and not config.reason:
        raise ValueError("reason: force=true needs one, for the record; reason='...'")
    reason = config.reason if config.force else None
    return Gatekeeper(config=config.gate, evaluate=config.evaluate, reason=reason, show=show)


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.publish")
