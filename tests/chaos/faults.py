"""The faults: each is a context manager that breaks something of the world and mends it; `FAULTS` has their names.

A fault that kills yields at once, and what was killed is for Ray to replace.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from tests.benchmarks.harness.servers import asleep, replicas
from tests.chaos.milvus_proxy import MilvusProxy
from tests.chaos.verdict import Kill

DIES_WITHIN_S = 5.0

STAGES = ("UserEmbedder", "Retriever", "Reranker")


@dataclass
class World:
    """What the faults act upon.

    Attributes:
        storage: the storage root.
        milvus: the proxy by which the endpoint reaches Milvus.
        random: draws which replica is hit.
        kills: the processes on the way of a request that were killed.
    """

    storage: Path
    milvus: MilvusProxy
    random: Random
    kills: list[Kill] = field(default_factory=list)

    @property
    def is_mounted(self) -> bool:
        """Whether the storage is a filesystem of its own, which can be full or read-only."""
        return self.storage.is_mount()


Fault = Callable[[World], AbstractContextManager[None]]

FAULTS: dict[str, Fault] = {}
"""All faults by name."""

NEEDS_MOUNT = ("storage_full", "storage_read_only")
"""Faults that need a storage that is a filesystem of its own: root can mount one."""


def fault(function: Callable[[World], Iterator[None]]) -> Fault:
    """Registers a fault under its function's name."""
    FAULTS[function.__name__] = contextmanager(function)
    return FAULTS[function.__name__]


@fault
def kill_ingress(world: World) -> Iterator[None]:
    """SIGKILL of an ingress replica; the requests that it has in flight are lost with it."""
    _kill(world, replicas("Recommender"), "ingress")
    yield


@fault
def kill_stage(world: World) -> Iterator[None]:
    """SIGKILL of a replica of a stage behind the ingress: nobody may notice."""
    _kill(world, replicas(world.random.choice(STAGES)), None)
    yield


@fault
def kill_proxy(world: World) -> Iterator[None]:
    """SIGKILL of HAProxy, the one way in on this node: connections are refused until Ray has started another."""
    of_haproxy = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "haproxy"]
    _kill(world, of_haproxy, "proxy")
    yield


@fault
def stage_hangs(world: World) -> Iterator[None]:
    """SIGSTOP of all replicas of a stage."""
    with asleep(world.random.choice(STAGES)):
        yield


@fault
def milvus_stopped(world: World) -> Iterator[None]:
    """Milvus refuses connections."""
    world.milvus.refuse()
    try:
        yield
    finally:
        world.milvus.refuses = False


@fault
def milvus_blackholed(world: World) -> Iterator[None]:
    """Milvus takes requests and never answers."""
    world.milvus.swallows = True
    try:
        yield
    finally:
        world.milvus.swallows = False


@fault
def milvus_slow(world: World) -> Iterator[None]:
    """Milvus answers half a second late."""
    world.milvus.delay_s = 0.5
    try:
        yield
    finally:
        world.milvus.delay_s = 0.0


@fault
def storage_hangs(world: World) -> Iterator[None]:
    """Reading the live pointer never ends: a FIFO that nobody writes to is in its place."""
    pointer = world.storage / "releases" / "live.json"
    kept = pointer.with_suffix(".kept")
    pointer.rename(kept)
    os.mkfifo(pointer)
    try:
        yield
    finally:
        fifo = pointer.with_suffix(".fifo")
        pointer.rename(fifo)
        kept.rename(pointer)
        _release_readers(fifo)
        fifo.unlink()


@fault
def storage_gone(world: World) -> Iterator[None]:
    """The folder of the releases is not there."""
    releases = world.storage / "releases"
    kept = world.storage / "releases-kept"
    releases.rename(kept)
    try:
        yield
    finally:
        if releases.exists():  # heartbeats, which replicas have written meanwhile
            releases.rename(world.storage / f"releases-written-{time.monotonic_ns()}")
        kept.rename(releases)


@fault
def storage_full(world: World) -> Iterator[None]:
    """No byte more can be written."""
    filler = world.storage / "filler"
    try:
        with filler.open("wb", buffering=0) as file:  # a buffer would be written once more when the file is closed
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        yield
    finally:
        filler.unlink()


@fault
def storage_read_only(world: World) -> Iterator[None]:
    """The storage is mounted read-only."""
    if not _remount(world.storage, "ro"):  # a file is being written: as likely as not, in the next moment none is
        time.sleep(0.1)
        _remount(world.storage, "ro")
    try:
        yield
    finally:
        _remount(world.storage, "rw")


def _remount(mount: Path, how: str) -> bool:
    return subprocess.run(["mount", "-o", f"remount,{how}", str(mount)], capture_output=True).returncode == 0


def _release_readers(fifo: Path) -> None:
    """Ends the reads that wait on a FIFO."""
    for _ in range(20):
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads
            return
        time.sleep(0.05)


def _kill(world: World, processes: list[psutil.Process], counted_as: str | None) -> None:
    if not processes:
        return
    killed, began = world.random.choice(processes), time.monotonic()
    killed.send_signal(signal.SIGKILL)
    psutil.wait_procs([killed], DIES_WITHIN_S)
    if counted_as is not None:
        world.kills.append(Kill(began, time.monotonic(), counted_as))
