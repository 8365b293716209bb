"""A release: everything that answers a request, as one immutable folder; and the pointer that says which is live."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from pyarrow.fs import FileType

from data.storage import MANIFEST, Folder, NotSealed, is_sealed, open_sealed
from serve.masks import FilterColumns
from towers.checkpoint import Checkpoint, load

UNDER_WAY = ".under-way"
"""Folder of the marks, and of the locks."""


class ReleaseError(ValueError):
    """A release is missing, damaged, or does not reproduce its golden queries."""


class Fate(Enum):
    """What a process is doing to a release."""

    published = "published"
    pruned = "pruned"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A release that is being made or removed, or was when the process died.

    Attributes:
        since: unix seconds.
        host, pid: of the process.
    """

    release: str
    collection: str
    fate: Fate
    since: float
    host: str
    pid: int

    def is_left(self, grace_s: float) -> bool:
        """Nobody is at it any more: its process is gone, or, on another machine, began longer ago than that."""
        if self.host == socket.gethostname():
            return not _is_alive(self.pid)
        return time.time() - self.since > grace_s


@dataclass(frozen=True, slots=True)
class Live:
    """The live pointer.

    Attributes:
        release: what serves.
        previous: what served before, and would again after a rollback.
        promoted_at: since when, ISO.
        rolled_back: what served before and was found wanting: this pointer is its rollback.
    """

    release: str
    previous: str | None
    promoted_at: str
    rolled_back: str | None = None


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
        with self.locked():
            self.manifest(release_id)
            before = self.live()
            if before is not None and before.release == release_id:
                return before
            return self._point(release_id, before.release if before else None)

    def rollback(self) -> Live:
        """Points at what served before. Done again, or by two at once, it changes nothing more.

        Raises:
            ReleaseError: nothing is live, or nothing was before.
        """
        with self.locked():
            live = self.live()
            if live is None:
                raise ReleaseError("no release is live: there is nothing to roll back")
            if live.rolled_back is not None:
                return live
            if live.previous is None:
                raise ReleaseError(
                    f"release {live.release}: none was live before it; run python -m serve.promote release=ID"
                )
            self.manifest(live.previous)
            return self._point(live.previous, None, rolled_back=live.release)

    def _point(self, release_id: str, previous: str | None, rolled_back: str | None = None) -> Live:
        live = Live(release_id, previous, datetime.now(UTC).isoformat(timespec="seconds"), rolled_back)
        self.folder.write_json("live.json", asdict(live))
        return live

    @contextmanager
    def locked(self, what: str = "registry") -> Iterator[None]:
        """One change at a time, of the pointer or of a release; an object store has no locks: there the last counts."""
        if not self.folder.is_local:
            yield
            return
        with (Path((self.folder / UNDER_WAY).create().path) / f"{what}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def mark(self, release_id: str, collection: str, fate: Fate) -> None:
        """Notes that a release is being made or removed, so that what a dead process leaves behind is found again."""
        (self.folder / UNDER_WAY).create()
        mark = UnderWay(release_id, collection, fate, time.time(), socket.gethostname(), os.getpid())
        self.folder.write_json(f"{UNDER_WAY}/{release_id}.json", asdict(mark) | {"fate": fate.value})

    def unmark(self, release_id: str) -> None:
        """What was marked is done."""
        path = f"{self.folder.path}/{UNDER_WAY}/{release_id}.json"
        if self.folder.filesystem.get_file_info(path).type is FileType.File:
            self.folder.filesystem.delete_file(path)

    def under_way(self) -> list[UnderWay]:
        """What is marked."""
        names = [name for name in (self.folder / UNDER_WAY).files() if name.endswith(".json")]
        notes = [self.folder.read_json(f"{UNDER_WAY}/{name}") for name in names]
        return [UnderWay(**note | {"fate": Fate(note["fate"])}) for note in notes]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
