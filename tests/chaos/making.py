"""Makes the world that faults act upon: storage and Milvus of its own, with three releases that answer unlike."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from conf.schema import load
from serve.index.connection import milvus_address
from tests.benchmarks.bench_swaps import OVERRIDES, ROOT
from tests.chaos.machine import Clock, MemoryGroup
from tests.chaos.milvus_proxy import MilvusProxy
from tests.chaos.world import World

STORAGE_MIB = 256
EMPTY = Path("var/chaos/empty.db")


@contextmanager
def made(random: Random, sets_clock: bool) -> Iterator[World]:
    """A world with three releases on a storage of its own, and a Milvus that holds them.

    Args:
        sets_clock: whether a fault may set the clock of the machine.
    """
    index = load(list(OVERRIDES)).index
    with (
        mounted_copy(Path(ROOT), Path("var/chaos/storage")) as storage,
        milvus_address(index) as full,
        milvus_address(replace(index, uri=str(EMPTY))) as empty,
        MemoryGroup.made(f"chaos-{os.getpid()}") as memory,
    ):
        yield World(
            storage=storage,
            milvus=MilvusProxy(*endpoint_of(full)),
            empty_milvus=endpoint_of(empty),
            clock=Clock() if sets_clock else None,
            memory=memory,
            random=random,
        )


@contextmanager
def mounted_copy(source: Path, target: Path) -> Iterator[Path]:
    """A copy of the releases on a filesystem of its own where this user may mount one, otherwise in a plain folder."""
    target.mkdir(parents=True, exist_ok=True)
    tmpfs = ["mount", "-t", "tmpfs", "-o", f"size={STORAGE_MIB}m", "tmpfs", str(target)]
    is_mounted = subprocess.run(tmpfs, capture_output=True).returncode == 0
    try:
        subprocess.run(["cp", "-r", str(source / "releases"), str(target)], check=True)
        yield target.absolute()
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(target)], check=False)
        else:
            subprocess.run(["rm", "-r", str(target)], check=False)


def endpoint_of(address: str) -> tuple[str, int]:
    """Host and port of a Milvus."""
    parts = urlsplit(address)
    return str(parts.hostname), int(parts.port or 0)
