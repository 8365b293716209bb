"""What can be wrong with the storage."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.world import World, fault


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
