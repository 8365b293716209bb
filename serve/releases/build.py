"""From towers and a catalogue to a release: gate, collection, golden queries, seal; the one way of publish and refresh.

Item vectors go into a Milvus collection of their own, which is counted and searched before it counts; then the release
folder is sealed.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.seals import is_sealed, sealing
from data.cluster.console import ProgressReporter
from serve.index.collection import collection_name, drop, write_collection
from serve.index.config import IndexConfig
from serve.releases.gate.gate import Gatekeeper
from serve.releases.golden_queries import GOLDEN, golden_queries
from serve.releases.in_progress import Fate
from serve.releases.model_card import CARD, card
from serve.releases.registry import Registry
from serve.releases.verify import check_recall, num_held
from towers.checkpoint.checkpoint import Checkpoint

MEMORY_PER_FILE_BYTE = 6
"""Bytes of memory that a byte of a release's files takes in a replica: the files are compressed."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is to become a release.

    Attributes:
        id: the release's; the same for the same content.
        parts: towers, re-ranker and catalogue, and the manifest that the release's own starts from.
        told: what its manifest says beside that.
        embedded: the items with their vectors (`vector`), in order of their rows, in batches; asked for once.
        fill: writes the model's files into the release's folder.
    """

    id: str
    parts: Checkpoint
    told: dict[str, Any]
    embedded: Callable[[], Iterable[pa.Table]]
    fill: Callable[[Folder], None]


def release_id(manifest: dict[str, Any], *decides: str) -> str:
    """Dataset name and digest of what decides what the release holds."""
    return f"{manifest['dataset']['name']}-{hashlib.sha256(' '.join(decides).encode()).hexdigest()[:10]}"


def build(
    config: IndexConfig,
    registry: Registry,
    candidate: Candidate,
    verb: str,
    progress: ProgressReporter,
    keeper: Gatekeeper | None,
) -> None:
    """Makes the release, unless it is there, whole. What `verb` says and raises: see serve.publish."""
    with registry.locked(candidate.id):
        if is_sealed(registry.path(candidate.id)):
            held = num_held(config, registry.manifest(candidate.id)["collection"])
            if held == candidate.parts.items.table.num_rows:
                progress(f"{verb}: release {candidate.id} is already published")
                return
            progress(f"{verb}: the collection of release {candidate.id} is not whole any more")
        _build(config, registry, candidate, verb, progress, keeper)


def _build(
    config: IndexConfig,
    registry: Registry,
    candidate: Candidate,
    verb: str,
    progress: ProgressReporter,
    keeper: Gatekeeper | None,
) -> None:
    started, parts, collection = time.perf_counter(), candidate.parts, collection_name(candidate.id)
    gate = keeper(parts, registry) if keeper is not None else None
    registry.marks.set(candidate.id, collection, Fate.published)
    batches = _shown(candidate.embedded(), parts.items.table.num_rows, verb, progress)
    written = write_collection(config, collection, batches, parts.items.features, parts.model.config.embedding_dim)
    try:
        found = check_recall(config, collection, parts)
        index = {"collection": collection, "num_items": written, "index_recall@20": found}
        _seal(registry, candidate, index | {"gate": gate})
    except BaseException:
        drop(config, collection)
        raise
    registry.marks.clear(collection)
    seconds = time.perf_counter() - started
    progress(
        f"{verb}: release {candidate.id}, {written:,} items in {collection}, recall@20 {found:.3f}, {seconds:.1f} s"
    )


def _shown(batches: Iterable[pa.Table], total: int, verb: str, progress: ProgressReporter) -> Iterator[pa.Table]:
    """The same batches, with progress."""
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        progress(f"{verb}: {done:,} of {total:,} items written")


def _seal(registry: Registry, candidate: Candidate, measured: dict[str, Any]) -> None:
    """The model's files, golden queries, a card and a manifest as one immutable folder."""
    parts = candidate.parts
    inherited = {k: v for k, v in parts.manifest.items() if k not in ("kind", "files", "fingerprint")}
    own = {"kind": "release", "created_at": datetime.now(UTC).isoformat(timespec="microseconds")}
    manifest = inherited | own | candidate.told | measured
    with sealing(registry.path(candidate.id), manifest) as staging:
        candidate.fill(staging)
        staging.write_bytes(GOLDEN, json.dumps([asdict(golden) for golden in golden_queries(parts)]).encode())
        staging.write_bytes(CARD, card(candidate.id, manifest).encode())
        dim = parts.model.config.embedding_dim
        manifest["memory_mib"] = estimated_mib(staging.num_bytes(), parts.items.table.num_rows, dim)


def estimated_mib(file_bytes: int, num_items: int, dim: int) -> float:
    """What a release takes in a replica: its files as tensors, tables and dictionaries of ids, its vectors twice.

    Of 100,000 items x 64 and 50,000 users, 46 MiB of files, a replica grew by 370 MiB, 41 of which any first release
    takes.
    """
    return (MEMORY_PER_FILE_BYTE * file_bytes + 2 * 4 * num_items * dim) / 2**20
