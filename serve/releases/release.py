"""One release, opened: everything that is needed to answer a request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import UserError
from data.artifacts.seals import open_sealed

if TYPE_CHECKING:
    import numpy as np

    from serve.filters.masks import FilterColumns
    from towers.checkpoint.checkpoint import Checkpoint


RELEASE_ID = re.compile(r"[^./\\\0][^/\\\0]*")
"""What may be a release's id: the name of its folder, and no other path to it, such as one with a slash at its end."""

MAX_EXCLUDED_ITEMS = 1_000
"""The most items in the denylist, and the most removed items of a release.

Each request excludes them one by one. To take more items out, publish a release whose catalogue does not have them.
"""


class ReleaseError(UserError, ValueError):
    """A release is missing, damaged or not sound, or cannot be brought into service."""


def created_at(manifest: Mapping[str, Any]) -> str:
    """When a release was sealed (ISO timestamp); KeyError or TypeError where its manifest does not say it."""
    if not isinstance(moment := manifest["created_at"], str):
        raise TypeError(f"created_at is {moment!r}")
    return moment


def log_read_us(manifest: Mapping[str, Any]) -> int:
    """When the log was read that a release's histories are of, in microseconds since 1970.

    Users who were forgotten later may be in them. Where an earlier version prepared the dataset, the moment is not
    recorded: then it is the earliest that the release's manifest knows, so that no history of a forgotten user counts.
    """
    dataset: Mapping[str, Any] = manifest["dataset"]
    if "log_read_us" in dataset:
        return int(dataset["log_read_us"])
    known = [int(datetime.fromisoformat(manifest["created_at"]).timestamp() * 1_000_000)]
    if (until_us := dataset.get("events_until_us")) is not None:
        known.append(int(until_us))
    if (newest_s := manifest.get("newest_interaction")) is not None:
        known.append(int(newest_s) * 1_000_000)
    return min(known)


@dataclass(frozen=True)
class Release:
    """A sealed release, opened.

    Attributes:
        id: the release's id, which is also the name of its folder.
        manifest: the content of its manifest.json.
        parts: towers, re-ranker, vocabularies, features, and the items that users have seen.
    """

    id: str
    manifest: dict[str, Any]
    parts: "Checkpoint"

    @property
    def collection(self) -> str:
        """Physical name of its Milvus collection; never an alias."""
        return self.manifest["collection"]

    def collection_now(self) -> str:
        """The name of its collection by its manifest as it is now: one that was lost is published again under another.

        Raises:
            NotSealed: the release does not exist any more.
        """
        return str(open_sealed(self.parts.folder, "release")["collection"])

    @property
    def removed_items(self) -> frozenset[str]:
        """Ids of items that are in its catalogue and in none of its answers (see serve.refresh)."""
        return frozenset(self.manifest.get("withdrawn", ()))

    def stored_vectors(self) -> "np.ndarray | None":
        """The item vectors as its files have them, float32 [N, D]; None where an earlier version published it."""
        from towers.checkpoint.opening.parts import VECTORS_FILE

        return self.parts.item_vectors_ID[1:].numpy() if VECTORS_FILE in self.manifest["files"] else None

    @cached_property
    def columns(self) -> "FilterColumns":
        """The items' features, prepared for filters. The first access takes seconds for a million items."""
        from serve.filters.masks import FilterColumns

        return FilterColumns(self.parts.items.table, self.parts.items.features)
