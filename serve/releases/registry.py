"""The registry: all releases under `<storage>/releases`, and the live pointer beside them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from data.artifacts.folders import MANIFEST, Folder, json_bytes
from data.artifacts.json_text import DamagedFile, mapping, parsed, shaped
from data.artifacts.leases import Lock
from data.artifacts.plugins import require
from data.artifacts.records.json_files import left_out, read_json_file
from data.artifacts.seals import NotSealed, is_sealed, open_sealed, verify_files
from serve.experiments.assignment import Experiment
from serve.releases.audit.changes import record_changes, try_to_record
from serve.releases.audit.history import HISTORY, Stamp
from serve.releases.in_progress import InProgressMarkers
from serve.releases.pointer import LivePointer, Traffic, promoted, rolled_back
from serve.releases.release import RELEASE_ID, Release, ReleaseError, created_at

IN_PROGRESS = ".under-way"
"""Folder of the in-progress markers and of the lock files."""

POINTER = "live.json"

DENYLISTS = ".withdrawn"
"""Folder of the denylists, one of which the pointer names."""

Denylist = dict[str, dict[str, str]]
"""`reason` and `since` (ISO timestamp) by item id, as the file of a denylist has them."""


@dataclass(frozen=True, slots=True)
class ReleaseRegistry:
    """All releases in one folder, and the live pointer."""

    folder: Folder

    @classmethod
    def of(cls, storage: Folder) -> "ReleaseRegistry":
        """The registry below a storage root."""
        return cls(storage / "releases")

    @property
    def in_progress(self) -> InProgressMarkers:
        """Markers of the releases that are being published or pruned."""
        return InProgressMarkers(self.folder / IN_PROGRESS)

    def path(self, release_id: str) -> Folder:
        """The folder of a release, whether it exists or not.

        Raises:
            ReleaseError: this can be no release's id.
        """
        if not RELEASE_ID.fullmatch(release_id):
            raise self._no_such(release_id)
        return self.folder / release_id

    def ids(self) -> list[str]:
        """Ids of all sealed releases, oldest first, as `manifests` finds them."""
        return list(self.manifests())

    def manifests(self) -> dict[str, dict[str, Any]]:
        """The manifests of all sealed releases by id, oldest first. A damaged one is left out, and named."""
        found: dict[str, dict[str, Any]] = {}
        for folder in self.folder.subfolders():
            try:
                manifest = open_sealed(folder, "release")
                shaped(manifest, f"{folder}/{MANIFEST}", created_at, "the manifest of a release")
                found[folder.name] = manifest
            except (NotSealed, DamagedFile) as e:
                if is_sealed(folder):  # and not removed meanwhile
                    left_out(f"{e}")
        return dict(sorted(found.items(), key=lambda one: created_at(one[1])))

    def manifest(self, release_id: str) -> dict[str, Any]:
        """The manifest of a release.

        Raises:
            ReleaseError: there is no such release; the message names those that exist. Or its manifest is damaged.
        """
        folder = self.path(release_id)
        try:
            return open_sealed(folder, "release")
        except FileNotFoundError as e:
            raise ReleaseError(f"release {release_id}: {e}") if is_sealed(folder) else self._no_such(release_id) from e

    def _no_such(self, release_id: str) -> ReleaseError:
        known = ", ".join(self.ids()) or "none: run python -m serve.publish"
        return ReleaseError(f"release {release_id!r}: no such release (there are: {known})")

    def open(self, release_id: str) -> Release:
        """Opens a release and checks each of its files against the sha256 in the manifest.

        Raises:
            ReleaseError: there is no such release.
            NotSealed: a file is missing or has changed since the release was sealed.
            CheckpointError: its towers or tables cannot be loaded.
            PluginUnavailable: a plugin that it was made with is missing here, or is of another version.
        """
        require(self.manifest(release_id).get("plugins", ()), f"release {release_id}")
        from towers.checkpoint.checkpoint import load  # brings torch, which few commands need

        manifest = open_sealed(self.path(release_id), "release", verify=True)
        return Release(release_id, manifest, load(self.path(release_id), manifest))

    def open_served(self, release_id: str) -> Release:
        """Opens a release for a process that serves it: the files of its parts are read, and checked against their
        sha256, when the parts are first asked for; all others are checked now.

        Raises:
            ReleaseError, NotSealed, PluginUnavailable: as for `open`. Its parts raise NotSealed and CheckpointError.
        """
        manifest, folder = self.manifest(release_id), self.path(release_id)
        require(manifest.get("plugins", ()), f"release {release_id}")
        from towers.checkpoint.checkpoint import open_served
        from towers.checkpoint.opening.parts import PART_FILES

        verify_files(folder, manifest, sorted(manifest["files"].keys() - PART_FILES))
        return Release(release_id, manifest, open_served(folder, manifest))

    def live(self) -> LivePointer | None:
        """The live pointer; None where nothing has been promoted yet.

        Raises:
            ReleaseError: the file is not a live pointer.
        """
        if not self.folder.exists(POINTER):
            return None
        return self._pointer(self.folder.read_bytes(POINTER))

    def _pointer(self, content: bytes) -> LivePointer:
        cure = (
            f"put the newest file of {HISTORY}/ that has `promoted_at` in its place (python -m serve.history says what"
            " each did). Do not remove it: it names the denylist, and items that were recalled would be back"
        )
        try:
            return parsed(content, f"{self.folder}/{POINTER}", LivePointer.of_json, "a live pointer", cure)
        except DamagedFile as e:
            raise ReleaseError(f"{e}") from e

    def resolve(self, release_id: str | None) -> str:
        """Returns the given release id or, for None, the id of the live release.

        Raises:
            ReleaseError: no id is given, and no release is live.
        """
        live = self.live()
        if release_id is None and live is None:
            raise ReleaseError("release: null, and no release is live; name one, or run python -m serve.promote")
        return release_id or live.release  # type: ignore[union-attr]

    def promote(self, release_id: str) -> LivePointer:
        """Points at a release without waiting for the replicas (serve.rollout.two_phase does wait for them)."""
        return self.update_pointer(lambda live: promoted(live, release_id))

    def rollback(
        self, reason: str | None = None, of: Experiment | None = None, decided_on: LivePointer | None = None
    ) -> LivePointer:
        """Ends an experiment, or points at the previous release, without waiting for the replicas.

        Args:
            of: if given, only this run of an experiment is ended.
            decided_on: if given, only what answers users by this pointer is rolled back.

        Raises:
            PointerError: as `rolled_back`.
        """
        return self.update_pointer(lambda live: rolled_back(live, reason, of, decided_on))

    def update_pointer(self, change: Callable[[LivePointer | None], LivePointer]) -> LivePointer:
        """Replaces the pointer, in one atomic step, by what `change` makes of it; one change at a time.

        Where another process has replaced the pointer all the same (one whose lock had been taken over), `change` is
        called again with the pointer that is there now: no change is ever lost. The history has each change of what
        serves once, also that of a process that was killed before it could add it: the next change adds it.

        Raises:
            ReleaseError: the new pointer gives traffic to a release that does not exist.
            PointerError: the live release would also have a share of the traffic in an experiment.
            LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
        """
        with self.locked() as lock:
            while True:
                found = self.folder.read_versioned(POINTER)
                before = None if found is None else self._pointer(found[0])
                after = change(before)
                if after == before:
                    return after
                self._require_possible(before, after)
                is_old = before is not None and after.answers_like(before)
                after = replace(after, change=before.change if before and is_old else Stamp.now())
                try_to_record(self.folder, before)
                lock.require()
                if self.folder.replace_if(found and found[1], POINTER, json_bytes(after.as_json())):
                    break
            record_changes(self.folder, before, after)
            return after

    def _require_possible(self, before: LivePointer | None, after: LivePointer) -> None:
        """Refuses a pointer by which replicas could not answer: what gets traffic, or more of it, must exist.

        What stays live may be gone: that keeps back no recall, no end of an experiment and no promotion of another.
        """
        if Traffic.of(before) != Traffic.of(after):
            after.require_consistent()
            stays = before is not None and before.release == after.release
            for release_id in after.others if stays else [after.release, *after.others]:
                if before is None or after.traffic_share(release_id) > before.traffic_share(release_id):
                    self.manifest(release_id)

    def read_denylist(self, name: str | None) -> frozenset[str]:
        """The item ids of a denylist, given the name that the pointer has for it; empty for None.

        Raises:
            ReleaseError: as `denied`.
        """
        return frozenset(self.denied(name))

    def denied(self, name: str | None) -> Denylist:
        """The items of a denylist with why and since when they are on it; empty for None.

        Raises:
            ReleaseError: its file is damaged or missing. It is never taken for empty: recalled items would be back.
        """
        if name is None:
            return {}
        cure = (
            "restore it from a copy of the storage. Without one, write {} into it, which ends all recalls, and at once"
            f" give every recall again that python -m serve.history shows; the other files of {DENYLISTS}/ are earlier"
            " lists"
        )
        try:
            return read_json_file(self.folder, f"{DENYLISTS}/{name}", _denylist, "a denylist", cure)
        except DamagedFile as e:
            raise ReleaseError(f"{e}") from e
        except FileNotFoundError as e:
            raise ReleaseError(f"{self.folder}/{DENYLISTS}/{name}: the denylist is missing; {cure}") from e

    def locked(self, what: str = "registry") -> AbstractContextManager[Lock]:
        """Returns a lock on the pointer (`what="registry"`) or on a release (`what` is its id)."""
        return (self.folder / IN_PROGRESS).locked(what)


def _denylist(value: Any) -> Denylist:
    for item, entry in mapping(value).items():
        if not (isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("reason", "since"))):
            raise TypeError(f"item {item!r} has no reason and since")
    return mapping(value)
