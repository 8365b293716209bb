"""A release: everything that answers a request, as one immutable folder; and the registry of them all."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import NotSealed, is_sealed, open_sealed
from serve.releases.in_progress import Marks
from serve.releases.pointer import Live, PointerError, now, promoted, rolled_back
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.checkpoint import load

UNDER_WAY = ".under-way"
"""Folder of the marks, and of the locks."""

POINTER = "live.json"

WITHDRAWN = ".withdrawn"
"""Folder of the lists of withdrawn items, of which the pointer names one."""

HISTORY = ".history"
"""Folder of what the pointer has said, a file for each change of what serves, by its time."""


MOST_WITHDRAWN = 1_000
"""Items that may be withdrawn at a time; to be rid of more, publish a release without them."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All releases under `<storage>/releases`, and the live pointer beside them."""

    folder: Folder

    @classmethod
    def of(cls, storage: Folder) -> "Registry":
        return cls(storage / "releases")

    @property
    def marks(self) -> Marks:
        return Marks(self.folder / UNDER_WAY)

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
        """The pointer.

        Raises:
            ReleaseError: it is not one.
        """
        if not self.folder.exists(POINTER):
            return None
        try:
            return Live.of_json(self.folder.read_json(POINTER))
        except (TypeError, ValueError) as e:
            raise ReleaseError(f"{self.folder}/{POINTER}: not a live pointer ({e}); remove it and promote again") from e

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
        """Points at a release, waiting for nobody (serve.rollout.switch waits for the replicas)."""
        return self.move(lambda live: promoted(live, release_id))

    def rollback(self, reason: str | None = None) -> Live:
        """Ends an experiment, or points at what served before, waiting for nobody.

        Raises:
            PointerError: nothing is live, or nothing was before.
        """
        return self.move(lambda live: rolled_back(live, reason))

    def move(self, change: Callable[[Live | None], Live]) -> Live:
        """Replaces the pointer by what `change` makes of it, in one step; one change at a time.

        Raises:
            ReleaseError: it would point at a release that is not there.
            PointerError: on an object store, somebody else moved it at the same time.
        """
        with self.locked():
            before = self.live()
            after = change(before)
            if after == before:
                return after
            self.manifest(after.release)
            self.folder.write_json(POINTER, asdict(after))
            if not after.serves_as(before):
                self.folder.write_json(f"{HISTORY}/{now()}.json", asdict(after))
            if not self.folder.is_local and self.live() != after:
                raise PointerError(
                    "somebody else moved the live pointer at the same time; see python -m serve.releases"
                )
            return after

    def withdrawn(self, name: str | None) -> frozenset[str]:
        """The items of a list of withdrawn ones."""
        return frozenset() if name is None else frozenset(self.folder.read_json(f"{WITHDRAWN}/{name}"))

    def locked(self, what: str = "registry") -> AbstractContextManager[None]:
        """One change at a time, of the pointer or of a release; an object store has no locks: there the last counts."""
        return (self.folder / UNDER_WAY).locked(what)
