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

from data.prepare import Say
from data.storage import Folder, is_sealed, sealing
from serve.card import CARD, card
from serve.collection import collection_name, drop, write_collection
from serve.gate import Gatekeeper
from serve.golden import GOLDEN, golden_queries
from serve.index import IndexConfig
from serve.memory import estimated_mib
from serve.release import Registry
from serve.under_way import Fate
from serve.verify import check_recall, num_held
from towers.checkpoint import Checkpoint


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
    config: IndexConfig, registry: Registry, candidate: Candidate, verb: str, say: Say, keeper: Gatekeeper | None
) -> None:
    """Makes the release, unless it is there, whole. What `verb` says and raises: see serve.publish."""
    with registry.locked(candidate.id):
        if is_sealed(registry.path(candidate.id)):
            held = num_held(config, registry.manifest(candidate.id)["collection"])
            if held == candidate.parts.items.table.num_rows:
                say(f"{verb}: release {candidate.id} is already published")
                return
            say(f"{verb}: the collection of release {candidate.id} is not whole any more")
        _build(config, registry, candidate, verb, say, keeper)


def _build(
    config: IndexConfig, registry: Registry, candidate: Candidate, verb: str, say: Say, keeper: Gatekeeper | None
) -> None:
    started, parts, collection = time.perf_counter(), candidate.parts, collection_name(candidate.id)
    gate = keeper(parts, registry) if keeper is not None else None
    registry.marks.set(candidate.id, collection, Fate.published)
    batches = _shown(candidate.embedded(), parts.items.table.num_rows, verb, say)
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
    say(f"{verb}: release {candidate.id}, {written:,} items in {collection}, recall@20 {found:.3f}, {seconds:.1f} s")


def _shown(batches: Iterable[pa.Table], total: int, verb: str, say: Say) -> Iterator[pa.Table]:
    """The same batches, with progress."""
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        say(f"{verb}: {done:,} of {total:,} items written")


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
