"""A release: everything that answers a request, as one immutable folder; and the registry of them all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from data.artifacts.errors import UserError
from serve.filters.masks import FilterColumns
from towers.checkpoint.checkpoint import Checkpoint


class ReleaseError(UserError, ValueError):
    """A release is missing, damaged, or does not reproduce its golden queries."""


@dataclass(frozen=True)
class Release:
    """A sealed release, opened: towers, re-ranker, vocabularies, features, what users have seen."""

    id: str
    manifest: dict[str, Any]
    parts: Checkpoint

    @property
    def collection(self) -> str:
        """Physical name of its Milvus collection; never an alias."""
        return self.manifest["collection"]

    @property
    def withdrawn(self) -> frozenset[str]:
        """Items that are in its catalogue and in none of its answers; see serve.refresh."""
        return frozenset(self.manifest.get("withdrawn", ()))

    @cached_property
    def columns(self) -> FilterColumns:
        """The items' features, prepared for filters; takes seconds for a million items."""
        return FilterColumns(self.parts.items.table, self.parts.items.features)
