"""One release, opened: everything that is needed to answer a request."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from serve.filters.masks import FilterColumns
    from towers.checkpoint.checkpoint import Checkpoint


class ReleaseError(UserError, ValueError):
    """A release is missing, damaged or not sound, or cannot be brought into service."""


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
