"""A release: everything that answers a request, as one immutable folder; and the pointer that says which is live."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np

from data.storage import MANIFEST, Folder, NotSealed, is_sealed, open_sealed
from serve.masks import FilterColumns
from towers.checkpoint import Checkpoint, load

GOLDEN = "golden.json"
TOLERANCE = 1e-4


class ReleaseError(ValueError):
    """A release is missing, damaged, or does not reproduce its golden queries."""


@dataclass(frozen=True, slots=True)
class Live:
    """The live pointer: which release serves, which one did before, and since when."""

    release: str
    previous: str | None
    promoted_at: str


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

    @cached_property
    def columns(self) -> FilterColumns:
        """The items' features, prepared for filters; takes seconds for a million items."""
        return FilterColumns(self.parts.items.table, self.parts.items.features)


@dataclass(frozen=True, slots=True)
class Registry:
    """All releases under `<storage>/releases`, and the live pointer beside them."""

    folder: Folder

    @classmethod
    def of(cls, storage: Folder) -> "Registry":
        return cls(storage / "releases")

    def path(self, release_id: str) -> Folder:
        return self.folder / release_id

    def ids(self) -> list[str]:
        """Whole releases, oldest first."""
        whole = [f for f in self.folder.subfolders() if is_sealed(f)]
        return [f.name for f in sorted(whole, key=lambda f: f.read_json(MANIFEST)["created_at"])]

    def manifest(self, release_id: str) -> dict[str, Any]:
        """Raises ReleaseError where there is no such release, naming those that exist."""
        try:
            return open_sealed(self.path(release_id), "release")
        except NotSealed as e:
            known = ", ".join(self.ids()) or "none: run python -m serve.publish"
            raise ReleaseError(f"release {release_id!r}: no such release (there are: {known})") from e

    def open(self, release_id: str) -> Release:
        """Opens a release, each file checked against its sha256.

        Raises:
            ReleaseError, NotSealed, CheckpointError: it is not there, not whole or not loadable.
        """
        self.manifest(release_id)
        manifest = open_sealed(self.path(release_id), "release", verify=True)
        return Release(release_id, manifest, load(self.path(release_id), manifest))

    def live(self) -> Live | None:
        if not self.folder.exists("live.json"):
            return None
        return Live(**self.folder.read_json("live.json"))

    def chosen(self, release_id: str | None) -> str:
        """The release named, or the live one.

        Raises:
            ReleaseError: none is named, and none is live.
        """
        live = self.live()
        if release_id is None and live is None:
            raise ReleaseError("release: null, and no release is live; name one, or run python -m serve.promote")
        return release_id or live.release  # type: ignore[union-attr]

    def promote(self, release_id: str) -> Live:
        """Points at a release; one atomic replacement. Promoting the live release again changes nothing."""
        self.manifest(release_id)
        before = self.live()
        if before is not None and before.release == release_id:
            return before
        now = datetime.now(UTC).isoformat(timespec="seconds")
        live = Live(release_id, before.release if before else None, now)
        self.folder.write_json("live.json", asdict(live))
        return live


@dataclass(frozen=True, slots=True)
class Golden:
    """A query and the vector that the user tower must give for it."""

    user_row: int
    history: list[int]
    vector: list[float]


def golden_queries(parts: Checkpoint, count: int = 8) -> list[Golden]:
    """Queries over users that the tower can place, spread over the vocabulary, answered by the tower as it is."""
    from serve.embedder import UserEmbedder

    embedder = UserEmbedder("golden", parts)
    known = np.flatnonzero(parts.model.user_ids.known_N.numpy())
    found = []
    for row in known[np.linspace(0, len(known) - 1, min(count, len(known))).astype(int)].tolist():
        history = parts.seen.of_user(row).tolist()
        (vector_D,) = embedder.vectors([(row, np.array(history))])
        assert vector_D is not None, "a user with training interactions has a vector"
        found.append(Golden(row, history, vector_D.tolist()))
    return found


def check_golden(release: Release) -> None:
    """Raises ReleaseError where this process does not compute the vectors that were stored at publish."""
    from serve.embedder import UserEmbedder

    embedder = UserEmbedder(release.id, release.parts)
    for value in json.loads(release.parts.folder.read_bytes(GOLDEN)):
        golden = Golden(**value)
        (vector_D,) = embedder.vectors([(golden.user_row, np.array(golden.history))])
        distance = np.inf if vector_D is None else np.abs(vector_D - np.array(golden.vector)).max()
        if not distance <= TOLERANCE:
            raise ReleaseError(
                f"release {release.id}: golden query of user row {golden.user_row} is off by {distance:.2g}"
            )
