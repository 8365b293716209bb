"""The replicas that serve these releases, each by a note of its own: what it holds, and by which release it answers.

Whoever changes the pointer reads the notes and so knows when every replica has followed. A replica is taken for dead
when its process is gone or its note was not written again for LAPSE_S, by the clock of the storage that holds both.
"""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from pyarrow import fs

from data.artifacts.folders import Folder
from serve.releases.in_progress import is_alive, is_here
from serve.releases.pointer import Live

REPLICAS = ".replicas"
CLOCK = ".clock"

BEAT_S = 2.0
"""A replica writes its note this often, and whenever something changes."""

LAPSE_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One replica.

    Attributes:
        current: the release that it answers by; None while it starts.
        holds: releases that it could answer by at once, in MiB of its memory each.
        failed: why it could not make releases ready, by `attempted`.
        experiment: the one that it takes part in, by `Experiment.key`.
        withdrawn: the list of items that it leaves out.
        lease_s: it answers by no older pointer than this.
    """

    replica: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    current: str | None = None
    holds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    experiment: str | None = None
    withdrawn: str | None = None
    lease_s: float = 0.0

    def follows(self, live: Live) -> bool:
        """It answers by this pointer."""
        experiment = None if live.experiment is None else live.experiment.key
        return (self.current, self.experiment, self.withdrawn) == (live.release, experiment, live.withdrawn)

    def __str__(self) -> str:
        return f"{self.replica} on {self.host}"


def attempted(release_id: str, attempt: str | None) -> str:
    """A release that somebody's attempt to promote it has made ready."""
    return f"{attempt}:{release_id}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """All notes, in one folder."""

    folder: Folder

    @classmethod
    def of(cls, releases: Folder) -> "Fleet":
        return cls(releases / REPLICAS)

    def write(self, note: Note) -> None:
        self.folder.create()
        self.folder.write_json(f"{note.replica}.json", asdict(note))

    def clock(self) -> Callable[[], float]:
        """Unix seconds as the storage counts them."""
        self.folder.create()
        self.folder.write_bytes(CLOCK, b"")
        at, started = self._mtime(CLOCK), time.monotonic()
        return lambda: at + time.monotonic() - started

    def living(self, clock: Callable[[], float]) -> list[Note]:
        """Replicas that serve, or will once they have started."""
        return [note for note, dead in self._all(clock()) if not dead]

    def bury(self) -> None:
        """Removes the notes of dead replicas."""
        for note, dead in self._all(self.clock()()):
            if dead:
                self.folder.filesystem.delete_file(f"{self.folder.path}/{note.replica}.json")

    def _all(self, now: float) -> list[tuple[Note, bool]]:
        found = []
        for name in self.folder.files():
            if not name.endswith(".json"):
                continue
            try:
                note, written = Note(**self.folder.read_json(name)), self._mtime(name)
            except FileNotFoundError:  # buried meanwhile
                continue
            dead = now - written > LAPSE_S or (is_here(note.host) and not is_alive(note.pid))
            found.append((note, dead))
        return found

    def _mtime(self, name: str) -> float:
        info: fs.FileInfo = self.folder.filesystem.get_file_info(f"{self.folder.path}/{name}")
        if info.mtime is None:
            raise FileNotFoundError(info.path)
        return float(info.mtime.timestamp())
