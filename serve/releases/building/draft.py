"""A release before it exists: what `serve.publish` or `serve.refresh` hands to `build_release`."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from data.artifacts.folders import Folder
from towers.checkpoint.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class ReleaseDraft:
    """Everything from which a release is built.

    Attributes:
        id: the id that the release will have; equal for equal content.
        parts: towers, re-ranker and catalogue, and the manifest from which the release inherits.
        manifest_entries: what the release's manifest says beyond the inherited one.
        embed_items: yields the items in the order of their rows, in batches, each with its `vector`. It is called once.
        write_model: writes the model's files into the release's folder.
        recorded: what the history says of the publication beside the command and the release, as JSON values.
        may_move: whether its collection may be made in another Milvus than the one to which it was published before.
    """

    id: str
    parts: Checkpoint
    manifest_entries: dict[str, Any]
    embed_items: Callable[[], Iterable[pa.Table]]
    write_model: Callable[[Folder], None]
    recorded: dict[str, Any] = field(default_factory=dict)
    may_move: bool = False


def release_id(manifest: dict[str, Any], *content: str) -> str:
    """The dataset's name and a digest of what determines the release's content."""
    return f"{manifest['dataset']['name']}-{hashlib.sha256(' '.join(content).encode()).hexdigest()[:10]}"


def digest(table: pa.Table) -> str:
    """The sha256 of a table's content as an Arrow stream."""
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(content.getvalue()).hexdigest()
