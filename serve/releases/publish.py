"""Drafts a release from a checkpoint and has it built: the mechanism behind `python -m serve.publish`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.artifacts.seals import copy_files
from data.cluster.console import ProgressReporter
from serve.index.config import IndexConfig
from serve.releases.building.build import Gate, build_release
from serve.releases.building.draft import ReleaseDraft, release_id
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.batch_embedding import item_vectors
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.freshness import freshness
from towers.checkpoint.opening.parts import cold_length


def publish(
    config: IndexConfig,
    checkpoint: Checkpoint,
    storage: Folder,
    progress: ProgressReporter = print,
    gatekeeper: Gate | None = None,
    reason: str | None = None,
    may_move: bool = False,
) -> str:
    """Builds the release of a checkpoint and returns its id. Needs a Ray session.

    Args:
        gatekeeper: runs the gate, which holds back what is worse than the live release; None skips the gate.
        reason: what the history gives as the reason; None gives none.
        may_move: whether a release that is there, and has to be made again, may go into another Milvus than before.

    Raises:
        GateError: the gate holds the checkpoint back.
        IndexUnavailable: Milvus failed.
        ReleaseError: a search in the collection does not find what exact search finds; or it may not move.
        Where any of these is raised, there is no release, and no collection is left.
    """
    for line in freshness(checkpoint.manifest, folder=checkpoint.folder):
        progress(f"publish: {line}")
    recorded = {} if reason is None else {"reason": reason}
    draft = replace(_draft(config, checkpoint), recorded=recorded, may_move=may_move)
    build_release(config, ReleaseRegistry.of(storage), draft, "publish", progress, gatekeeper)
    return draft.id


def _draft(config: IndexConfig, checkpoint: Checkpoint) -> ReleaseDraft:
    fingerprint = checkpoint.manifest["fingerprint"]

    def embed_items() -> Iterable[pa.Table]:
        vectors = item_vectors(checkpoint, config.upsert_batch, config.embed_gpus)
        stream: Iterable[pa.Table] = vectors.iter_batches(batch_size=config.upsert_batch, batch_format="pyarrow")
        return stream

    def write_model(folder: Folder) -> None:
        copy_files(checkpoint.folder, folder, checkpoint.folder.files())

    return ReleaseDraft(
        id=release_id(checkpoint.manifest, fingerprint, config.algorithm.value, *_beside_files(checkpoint.manifest)),
        parts=checkpoint,
        manifest_entries={"checkpoint": checkpoint.name, "checkpoint_fingerprint": fingerprint},
        embed_items=embed_items,
        write_model=write_model,
    )


def _beside_files(manifest: dict[str, Any]) -> list[str]:
    """What decides a checkpoint's answers and is in none of its files, each only where it is not neutral.

    This is what requests call the contexts and the event types that it takes, and the values of its config, and of its
    decisions, that weigh what the files hold.
    """
    types = manifest.get("event_types") if manifest["model"].get("history_types") else None
    weighing = {
        "goals": manifest.get("rerank", {}).get("goals") or None,  # in their order, which is that of the weights
        "smoothing": manifest["model"].get("smoothing") or None,
        "cold_length": length if (length := cold_length(manifest)) != 1 else None,
        "by_features": manifest.get("placement", {}).get("by_features") or None,
    }
    weighing = {name: of for name, of in weighing.items() if of is not None}
    named = [*manifest.get("context", ()), *(of["name"] for of in (types or {}).get("types", ()))]
    return [*named, *([json_text(weighing)] if weighing else [])]
