"""A disk that fills during publish or promote: what is live is whole, and running the command again completes it.

A sample of the sizes; CRASHES=all tests more of them (minutes).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serve.releases.release import Release
from tests.reporting.skipping import skip
from tests.serve.releases.crash_world import EVERY, World

pytestmark = pytest.mark.slow

DISK_MIB = 24


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own; only root may have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        skip("only root may mount a disk of its own", "make test-slow as root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_at_any_point(small_disk: Path, release: Release, tmp_path: Path) -> None:
    """Of publish, then of promote."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    world = World(small_disk, release.parts, scratch)
    before = shutil.disk_usage(small_disk).used
    world.publish()
    needed = shutil.disk_usage(small_disk).used - before
    outcomes = []
    for left in np.linspace(0, needed, 32).astype(int).tolist()[:: max(EVERY // 2, 1)]:
        world.forget()
        with filled(small_disk, left):
            outcomes.append("error" in world.publish())
        world.is_whole()
        assert "error" not in world.publish()
        world.is_whole()
        world.has_no_orphans()
    assert outcomes[0]
    (new,) = set(world.registry.ids()) - {world.old}
    for left in range(0, 32 * 512, 512 * max(EVERY // 2, 1)):
        world.jobs(verb="promote", release=world.old)
        with filled(small_disk, left):
            world.jobs(verb="promote", release=new)
            live = world.registry.live()
            assert live is not None
            assert live.release in (world.old, new)
        world.is_whole()
        assert "error" not in world.jobs(verb="promote", release=new)
    world.jobs.end()


@contextlib.contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """So many bytes are left, and no more, as long as the block lasts."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)
    try:
        yield
    finally:
        ballast.unlink()
