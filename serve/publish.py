"""A checkpoint becomes a release: `python -m serve.publish checkpoint=...`.

Item vectors go into a Milvus collection of their own, which is counted and searched before it counts; then the release
folder is sealed. Publishing the same checkpoint again finds the release that is there.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import fs

from data.prepare import Say
from data.storage import MANIFEST, Folder, is_sealed, sealing
from serve.card import CARD, card
from serve.collection import collection_name, drop, write_collection
from serve.gate import Gatekeeper
from serve.golden import GOLDEN, golden_queries
from serve.index import IndexConfig
from serve.memory import estimated_mib
from serve.release import Registry
from serve.under_way import Fate
from serve.verify import check_recall, num_held
from towers.checkpoint import Checkpoint, open_checkpoint
from towers.embed import item_vectors
from towers.runs import open_for

if TYPE_CHECKING:
    from conf.schema import Config


def release_id(checkpoint: Checkpoint, config: IndexConfig) -> str:
    """Dataset name and digest of what the release holds: the same checkpoint and algorithm, the same id."""
    decides = f"{checkpoint.manifest['fingerprint']} {config.algorithm.value}"
    return f"{checkpoint.manifest['dataset']['name']}-{hashlib.sha256(decides.encode()).hexdigest()[:10]}"


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
    registry, id_ = Registry.of(storage), release_id(checkpoint, config)
    with registry.locked(id_):
        _publish(config, checkpoint, registry, id_, say, keeper)
    return id_


def _publish(
    config: IndexConfig, checkpoint: Checkpoint, registry: Registry, id_: str, say: Say, keeper: Gatekeeper | None
) -> None:
    if is_sealed(registry.path(id_)):
        if num_held(config, registry.manifest(id_)["collection"]) == checkpoint.items.table.num_rows:
            say(f"publish: release {id_} is already published")
            return
        say(f"publish: the collection of release {id_} is not whole any more")
    started, collection = time.perf_counter(), collection_name(id_)
    gate = keeper(checkpoint, registry) if keeper is not None else None
    registry.marks.set(id_, collection, Fate.published)
    written = _write(config, collection, checkpoint, say)
    try:
        found = check_recall(config, collection, checkpoint)
        index = {"collection": collection, "num_items": written, "index_recall@20": found}
        _seal(registry, id_, checkpoint, index | {"gate": gate})
    except BaseException:
        drop(config, collection)
        raise
    registry.marks.clear(collection)
    seconds = time.perf_counter() - started
    say(f"publish: release {id_}, {written:,} items in {collection}, recall@20 {found:.3f}, {seconds:.1f} s")


def _write(config: IndexConfig, collection: str, checkpoint: Checkpoint, say: Say) -> int:
    """Streams vectors from the item tower into the collection."""
    total, dim = checkpoint.items.table.num_rows, checkpoint.model.config.embedding_dim
    embedded = item_vectors(checkpoint, config.upsert_batch)

    def shown() -> Iterator[pa.Table]:
        done = 0
        for batch in embedded.iter_batches(batch_size=config.upsert_batch, batch_format="pyarrow"):
            yield batch
            done += batch.num_rows
            say(f"publish: {done:,} of {total:,} items written")

    return write_collection(config, collection, shown(), checkpoint.items.features, dim)


def _seal(registry: Registry, id_: str, checkpoint: Checkpoint, index: dict[str, Any]) -> None:
    """The checkpoint's files, golden queries and a manifest as one immutable folder."""
    inherited = {k: v for k, v in checkpoint.manifest.items() if k not in ("kind", "files", "fingerprint")}
    own = {
        "kind": "release",
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "checkpoint": checkpoint.name,
        "checkpoint_fingerprint": checkpoint.manifest["fingerprint"],
    }
    manifest = inherited | own | index
    with sealing(registry.path(id_), manifest) as staging:
        fs.copy_files(checkpoint.folder.path, staging.path, checkpoint.folder.filesystem, staging.filesystem)
        staging.filesystem.delete_file(f"{staging.path}/{MANIFEST}")
        staging.write_bytes(GOLDEN, json.dumps([asdict(golden) for golden in golden_queries(checkpoint)]).encode())
        dim = checkpoint.model.config.embedding_dim
        staging.write_bytes(CARD, card(id_, manifest).encode())
        manifest["memory_mib"] = estimated_mib(staging.num_bytes(), checkpoint.items.table.num_rows, dim)


def task(config: "Config") -> dict[str, Any]:
    """Entry point: publishes `checkpoint` (default: the one that this config trains)."""
    from conf.session import connect, show

    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    checkpoint = open_checkpoint(Folder.of(config.checkpoint)) if config.checkpoint else open_for(config)[0]
    keeper = Gatekeeper(config=config.gate, evaluate=config.evaluate, reason=_reason(config), show=show)
    id_ = publish(config.index, checkpoint, storage, keeper=keeper)
    print(f"Next: python -m serve.promote release={id_}")
    manifest = Registry.of(storage).manifest(id_)
    names = ("collection", "metrics", "gate")
    return {"release": id_} | {name: manifest[name] for name in names}


def _reason(config: "Config") -> str | None:
    """Why the gate is to let everything through."""
    if config.force and not config.reason:
        raise ValueError("reason: force=true needs one, for the record; reason='...'")
    return config.reason if config.force else None


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.publish")
