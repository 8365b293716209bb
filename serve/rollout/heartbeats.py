"""The replica registry: each replica's heartbeat, a file that names its loaded releases and the one that answers.

The commands that change the live pointer read the heartbeats to learn when every replica answers as the pointer says. A
heartbeat is stale when it is older than HEARTBEAT_TIMEOUT_S by the clock of the storage. That alone does not say that
the replica is dead, see serve/rollout/replica_watch.py.
"""

import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from pyarrow import fs

from data.artifacts.folders import Folder
from data.artifacts.json_text import DamagedFile
from data.artifacts.records.json_files import read_json_file
from data.artifacts.structured import known_fields, to_json_keys
from data.cluster.machine import pid_namespace, process_start
from data.cluster.processes import is_process_alive, is_this_host
from serve.releases.pointer import LivePointer

REPLICAS = ".replicas"
CLOCK = ".clock"

HEARTBEAT_INTERVAL_S = 2.0
"""Seconds between two heartbeats of a replica; there is one more whenever something changes."""

HEARTBEAT_TIMEOUT_S = 15.0
"""Seconds after which a heartbeat is stale."""

READERS = 16
"""Heartbeats that are read at the same time."""

CLOCK_CONTENT = b" " * 4096
"""What is written to read the storage's clock: on a full storage it fails, as the heartbeats there do."""

CURE = "a replica that lives writes it again; if none does, python -m serve.prune removes it"

JSON_KEYS = {"denylist": "withdrawn"}
"""Keys of a heartbeat's file that differ from the attribute's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The state of one replica.

    Attributes:
        replica: unique name of the replica.
        host, pid, namespace: the machine, the id of its process, and the `pid_namespace` in which it has that id.
        started: the `process_start` of that process; None where an earlier version has not recorded it.
        current: id of the release with which it answers; None while it starts.
        holds: memory in MiB of each release that it has loaded, by release id.
        failed: why it could not load a release, by `attempt_key`.
        experiment: `Experiment.key` of the experiment that it takes part in.
        denylist: file name of the denylist whose items it leaves out.
        lease_s: seconds after which it reads the live pointer again before it answers.
        answers_stale: whether it gives answers to clients also while it cannot read the pointer. One of an earlier
            version does not say, and counts as one that does.
    """

    replica: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    namespace: str | None = field(default_factory=pid_namespace)
    started: str | None = field(default_factory=lambda: process_start(os.getpid()))
    current: str | None = None
    holds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    experiment: str | None = None
    denylist: str | None = None
    lease_s: float = 0.0
    answers_stale: bool = True

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "Heartbeat":
        """Reads the content of a heartbeat's file; keys that a later version has added are ignored."""
        unsaid = {"namespace": None, "started": None}  # by a heartbeat of an earlier version
        return cls(**unsaid | known_fields(cls, value, JSON_KEYS))

    def as_json(self) -> dict[str, Any]:
        """The content of a heartbeat's file."""
        return to_json_keys(asdict(self), JSON_KEYS)

    def follows(self, live: LivePointer) -> bool:
        """Whether the replica answers as this pointer says."""
        experiment = None if live.experiment is None else live.experiment.key
        return (self.current, self.experiment, self.denylist) == (live.release, experiment, live.denylist)

    @classmethod
    def unreadable(cls, replica: str, why: str) -> "Heartbeat":
        """What stands for a damaged heartbeat: nothing is known of its replica but that it may answer."""
        return cls(replica=replica, host=f"a machine that is not known ({why})", pid=0)

    @property
    def is_gone(self) -> bool:
        """Whether its process can be looked up here, and does not run."""
        return is_this_host(self.host, self.namespace) and not self._is_alive

    @property
    def is_running(self) -> bool:
        """Whether its process can be looked up here, and runs."""
        return is_this_host(self.host, self.namespace) and self._is_alive

    @property
    def _is_alive(self) -> bool:
        return is_process_alive(self.pid, self.started)

    def __str__(self) -> str:
        return f"{self.replica} on {self.host}"


def attempt_key(release_id: str, attempt: str | None) -> str:
    """Returns the key of a failed load: the rollout (`LivePointer.attempt`) and the release that it asked for."""
    return f"{attempt}:{release_id}"


@dataclass(frozen=True, slots=True)
class FoundHeartbeat:
    """A heartbeat as it was found on the storage.

    Attributes:
        heartbeat: its content.
        written: when it was written, by the storage's clock, in Unix seconds.
        is_stale: whether that is longer ago than HEARTBEAT_TIMEOUT_S.
    """

    heartbeat: Heartbeat
    written: float
    is_stale: bool


@dataclass(frozen=True, slots=True)
class ReplicaRegistry:
    """The heartbeats of all replicas, in one folder."""

    folder: Folder

    @classmethod
    def of(cls, releases: Folder) -> "ReplicaRegistry":
        """The replicas that serve the releases in a folder."""
        return cls(releases / REPLICAS)

    def write(self, heartbeat: Heartbeat) -> None:
        """Writes a heartbeat in place of the replica's last one."""
        self.folder.create()
        self.folder.write_json(f"{heartbeat.replica}.json", heartbeat.as_json())

    def clock(self) -> Callable[[], float]:
        """Returns a function that tells the time by the storage's clock, which dates heartbeats, in Unix seconds."""
        self.folder.create()
        self.folder.write_bytes(CLOCK, CLOCK_CONTENT)
        at, started = self._mtime(CLOCK), time.monotonic()
        return lambda: at + time.monotonic() - started

    def alive(self, clock: Callable[[], float]) -> list[Heartbeat]:
        """The replicas that serve, or will serve once they have started, as far as one look can tell.

        A stale heartbeat of a process that runs on this host is among them.
        """
        return [
            found.heartbeat
            for found in self.read_all(clock())
            if not found.heartbeat.is_gone and (not found.is_stale or found.heartbeat.is_running)
        ]

    def remove(self, replica: str) -> None:
        """Removes the heartbeat of a replica that stops by itself."""
        self.folder.delete_file(f"{replica}.json")

    def read_all(self, now: float) -> list["FoundHeartbeat"]:
        """The last heartbeat of each replica that has not stopped by itself.

        Args:
            now: the time by the storage's clock, in Unix seconds.
        """
        names = [name for name in self.folder.files() if name.endswith(".json")]
        with ThreadPoolExecutor(READERS) as pool:  # on an object store each takes two round trips
            found = list(pool.map(self._read, names))
        return [
            FoundHeartbeat(heartbeat, written, now - written > HEARTBEAT_TIMEOUT_S)
            for heartbeat, written in filter(None, found)
        ]

    def _read(self, name: str) -> tuple[Heartbeat, float] | None:
        """A heartbeat and when it was written; None if another process has removed it meanwhile.

        One that is damaged counts as that of a replica that may answer. If it lives, it will write its next one.
        """
        try:
            try:
                heartbeat = read_json_file(self.folder, name, Heartbeat.of_json, "a heartbeat", CURE)
            except DamagedFile as e:
                heartbeat = Heartbeat.unreadable(name.removesuffix(".json"), f"{e}")
            return heartbeat, self._mtime(name)
        except FileNotFoundError:
            return None

    def _mtime(self, name: str) -> float:
        info: fs.FileInfo = self.folder.filesystem.get_file_info(f"{self.folder.path}/{name}")
        if info.mtime is None:
            raise FileNotFoundError(info.path)
        return float(info.mtime.timestamp())
