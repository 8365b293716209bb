"""A checkpoint becomes a release: `python -m serve.publish checkpoint=...`.

Publishing the same checkpoint again finds the release that is there.
"""

from collections.abc import Iterable

import pyarrow as pa
from pyarrow import fs

from data.artifacts.folders import MANIFEST, Folder
from data.cluster.console import ProgressReporter
from serve.index.config import IndexConfig
from serve.releases.build import Candidate, build, release_id
from serve.releases.gate.gate import Gatekeeper
from serve.releases.registry import Registry
from towers.checkpoint.batch_embedding import item_vectors
from towers.checkpoint.checkpoint import Checkpoint


def publish(
    config: IndexConfig,
    checkpoint: Checkpoint,
    storage: Folder,
    progress: ProgressReporter = print,
    keeper: Gatekeeper | None = None,
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
    build(config, Registry.of(storage), candidate, "publish", progress, keeper)
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
