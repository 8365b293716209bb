"""Marks of releases that are being made or removed, so that what a dead process leaves behind is found again."""

import os
import socket
import time
from dataclasses import asdict, dataclass
from enum import Enum

from pyarrow.fs import FileType

from data.artifacts.folders import Folder


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
        if is_here(self.host):
            return not is_alive(self.pid)
        return time.time() - self.since > grace_s


@dataclass(frozen=True, slots=True)
class Marks:
    """One small file per collection, in a folder of their own."""

    folder: Folder

    def set(self, release: str, collection: str, fate: Fate) -> None:
        self.folder.create()
        mark = UnderWay(release, collection, fate, time.time(), socket.gethostname(), os.getpid())
        self.folder.write_json(f"{collection}.json", asdict(mark) | {"fate": fate.value})

    def clear(self, collection: str) -> None:
        """What was marked is done."""
        path = f"{self.folder.path}/{collection}.json"
        if self.folder.filesystem.get_file_info(path).type is FileType.File:
            self.folder.filesystem.delete_file(path)

    def all(self) -> list[UnderWay]:
        notes = [self.folder.read_json(name) for name in self.folder.files() if name.endswith(".json")]
        return [UnderWay(**note | {"fate": Fate(note["fate"])}) for note in notes]


def is_here(host: str) -> bool:
    """This machine goes by that name."""
    return host == socket.gethostname()


def is_alive(pid: int) -> bool:
    """A process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
