"""In-progress markers: by them, `serve.prune` finds the releases that a dead process was publishing or pruning."""

import os
import socket
import time
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from data.artifacts.folders import Folder
from data.artifacts.records.json_files import read_or_left_out
from data.artifacts.structured import known_fields, to_json_keys
from data.cluster.machine import pid_namespace, process_start
from data.cluster.processes import is_process_alive, is_this_host

CURE = (
    "its name is that of a Milvus collection that a process was writing or dropping: drop that if no release names it,"
    " and remove the file"
)

JSON_KEYS = {"operation": "fate"}
"""Keys of a marker's file that differ from the attribute's name."""


class Operation(Enum):
    """What a process is doing with a release. The values stand in the markers' files."""

    publish = "published"
    prune = "pruned"


@dataclass(frozen=True, slots=True)
class InProgress:
    """A release that a process is publishing or pruning, or was when the process died.

    Attributes:
        release: id of the release.
        collection: name of its Milvus collection.
        operation: what the process is doing with the release.
        since: when the operation began, in Unix seconds.
        host, pid, namespace: the machine, the id of the process, and the `pid_namespace` in which it has that id.
        started: its `process_start`; None where an earlier version has not recorded it.
    """

    release: str
    collection: str
    operation: Operation
    since: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    namespace: str | None = None
    started: str | None = None

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "InProgress":
        """Reads the content of a marker's file; keys that a later version has added are ignored.

        Raises:
            TypeError, ValueError, KeyError: it is not that of a marker. A release or collection without a name is none:
                what belongs to it is deleted.
        """
        found = known_fields(cls, value, JSON_KEYS)
        if not found["release"] or not found["collection"]:
            raise ValueError("it names no release or no collection")
        return cls(**found | {"operation": Operation(found["operation"])})

    def as_json(self) -> dict[str, Any]:
        """The content of a marker's file."""
        return to_json_keys(asdict(self) | {"operation": self.operation.value}, JSON_KEYS)

    def is_abandoned(self, grace_s: float) -> bool:
        """Whether the process is gone; on another machine it counts as gone `grace_s` seconds after its beginning."""
        if is_this_host(self.host, self.namespace):
            return not is_process_alive(self.pid, self.started)
        return time.time() - self.since > grace_s


@dataclass(frozen=True, slots=True)
class InProgressMarkers:
    """A folder with one marker file per collection."""

    folder: Folder

    def set(self, release: str, collection: str, operation: Operation) -> None:
        """Records that this process begins an operation."""
        self.folder.create()
        started, namespace = process_start(os.getpid()), pid_namespace()
        marker = InProgress(release, collection, operation, time.time(), namespace=namespace, started=started)
        self.folder.write_json(f"{collection}.json", marker.as_json())

    def clear(self, collection: str) -> None:
        """Records that the operation is complete."""
        self.folder.delete_file(f"{collection}.json")

    def all(self) -> list[InProgress]:
        """All markers, those of dead processes included. A damaged one is left out, and named."""
        names = [name for name in self.folder.files() if name.endswith(".json")]
        found = (read_or_left_out(self.folder, name, InProgress.of_json, "a marker", CURE) for name in names)
        return [marker for marker in found if marker is not None]
