"""Seals a release: its model, golden queries, model card and manifest become one immutable folder."""

from datetime import UTC, datetime
from typing import Any

from data.artifacts.json_text import json_text
from data.artifacts.seals import sealing
from serve.filters.mask_cache import cached_bytes
from serve.releases.building.draft import ReleaseDraft
from serve.releases.golden_queries import GOLDEN_FILE, golden_queries
from serve.releases.model_card import CARD_FILE, model_card
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.opening.parts import VECTORS, VECTORS_FILE
from towers.checkpoint.tensor_files import save_tensors

MEMORY_BYTES_PER_FILE_BYTE = 6
"""Bytes of a replica's memory per byte of a release's files, which are compressed."""


def seal_release(registry: ReleaseRegistry, draft: ReleaseDraft, measured: dict[str, Any]) -> None:
    """Writes all files of a release and then its manifest, with the sha256 of each file.

    Args:
        measured: the manifest's entries that are known only after the collection has been written.
    """
    parts = draft.parts
    inherited = {k: v for k, v in parts.manifest.items() if k not in ("kind", "files", "fingerprint")}
    own = {"kind": "release", "created_at": datetime.now(UTC).isoformat(timespec="microseconds")}
    manifest = inherited | own | draft.manifest_entries | measured
    with sealing(registry.path(draft.id), manifest) as folder:
        draft.write_model(folder)
        has_golden = folder.exists(GOLDEN_FILE)  # those of a release that is restored stay as they were recorded
        of_golden = len(folder.read_bytes(GOLDEN_FILE)) if has_golden else 0
        memory_mib = estimated_mib(folder.num_bytes() - of_golden, parts.items.num_ids, parts.dim)
        save_tensors(folder, VECTORS_FILE, {VECTORS: parts.item_vectors_ID})
        if not has_golden:
            folder.write_bytes(GOLDEN_FILE, json_text([golden.as_json() for golden in golden_queries(parts)]).encode())
        folder.write_bytes(CARD_FILE, model_card(draft.id, manifest).encode())
        manifest["memory_mib"] = memory_mib


def estimated_mib(file_bytes: int, num_items: int, dim: int) -> float:
    """The memory in MiB that a release takes in a replica, at most.

    It consists of the files as tensors and tables, of the item vectors twice, in float32: once in the index and once in
    the opened release, and of the masks of the filters used last. A replica that holds all stages takes less, because
    weights, histories and item vectors are mapped: with 200,000 items x 64 dimensions and 200,000 users it had 122 MiB
    of its own beside the pages of these files, and 446 MiB when it read them as a whole.
    """
    of_vectors = 2 * 4 * num_items * dim
    return (MEMORY_BYTES_PER_FILE_BYTE * file_bytes + of_vectors + cached_bytes(num_items)) / 2**20
