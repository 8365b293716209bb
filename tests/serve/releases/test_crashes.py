"""SIGKILL and a full disk at many points of publish and promote: what is live is whole, and running again completes.

A sample of the points; CRASHES=all looks at every one of them (minutes).
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.entry import FOLDER
from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from serve.index.collection import list_collections
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.releases.prune import prune
from serve.releases.registry import Registry
from serve.releases.release import Release
from serve.releases.verify import verify
from serve.rollout.follower import Following, LiveReleases
from towers.checkpoint.checkpoint import Checkpoint

EVERY = 1 if os.environ.get("CRASHES") == "all" else 9
"""Of the points of publish and promote one in so many is looked at."""

DISK_MIB = 24


def silent(_: str) -> None:
    pass


class Jobs:
    """The process whose forks do the work."""

    def __init__(self, folder: Path, setup: dict[str, str]) -> None:
        (folder / "setup.json").write_text(json.dumps(setup))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.serve.crashes", str(folder / "setup.json")],
            cwd=FOLDER.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, **job: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        outcome: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "traceback" not in outcome, outcome["traceback"]
        return outcome

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class World:
    """A storage with an old release that is live, a checkpoint to make a new one of, and a Milvus Lite."""

    def __init__(self, folder: Path, parts: Checkpoint, scratch: Path) -> None:
        self.folder, self._scratch = folder, scratch
        self.index = IndexConfig(uri=str(folder / "milvus.db"), upsert_batch=32)
        self.registry = Registry.of(Folder.of(str(folder)))
        self._vectors = scratch / "vectors.parquet"
        item_ND = parts.reranker.item_ID[1:].numpy()
        table = parts.items.table.append_column("vector", pa.array(list(item_ND), pa.list_(pa.float32())))
        pq.write_table(table, self._vectors)
        self._checkpoints = [self._checkpoint(parts, name) for name in ("one", "two")]
        self.jobs = Jobs(scratch, {"root": str(folder), "uri": self.index.uri})
        self.old = self._made(self._checkpoints[0])
        self.registry.promote(self.old)

    def _checkpoint(self, parts: Checkpoint, name: str) -> Path:
        """The same parts under another fingerprint."""
        target = Folder.of(str(self._scratch / name))
        manifest = {k: v for k, v in parts.manifest.items() if k not in ("files", "fingerprint")}
        with sealing(target, manifest | {"kind": "checkpoint"}) as made:
            for file in parts.manifest["files"]:
                (Path(made.path) / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(parts.folder.path) / file, Path(made.path) / file)
            made.write_bytes("note", name.encode())
        return Path(target.path)

    def publish(self, **fault: Any) -> dict[str, Any]:
        """Has the new release published."""
        return self.jobs(verb="publish", checkpoint=str(self._checkpoints[1]), vectors=str(self._vectors), **fault)

    def _made(self, checkpoint: Path) -> str:
        before = set(self.registry.ids())
        done = self.jobs(verb="publish", checkpoint=str(checkpoint), vectors=str(self._vectors))
        assert done["signal"] == 0, done
        assert "error" not in done, done
        (made,) = set(self.registry.ids()) - before
        return made

    def forget(self) -> None:
        """The new release was never published."""
        for name in self.registry.ids():
            if name != self.old:
                with connected(self.index) as client:
                    client.drop_collection(self.registry.manifest(name)["collection"], timeout=10)
                self.registry.path(name).delete()

    def is_whole(self) -> None:
        """What is live, and every release that there is, is what was published."""
        live = self.registry.live()
        assert live is not None
        for release_id in self.registry.ids():
            verify(self.index, self.registry, release_id, silent)
        assert live.release in self.registry.ids()

    def has_no_orphans(self) -> None:
        """After prune, nothing in the storage or in Milvus belongs to no release."""
        prune(self.index, self.registry, 9, silent, grace_s=0)
        with connected(self.index) as client:
            collections = list_collections(client, self.index)
        assert collections == sorted(self.registry.manifest(id_)["collection"] for id_ in self.registry.ids())
        hidden = [path.name for path in Path(self.registry.folder.path).iterdir() if path.name.startswith(".")]
        assert set(hidden) <= {".under-way", ".replicas", ".history"}
        assert self.registry.marks.all() == []


@pytest.fixture(scope="module")
def world(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"), release.parts, tmp_path_factory.mktemp("scratch"))
    yield world
    world.jobs.end()


def sample(count: int) -> list[int]:
    assert count >= 30, "points of this verb"
    return list(range(1, count + 1, EVERY))


def test_publish_killed_at_any_point(world: World) -> None:
    count = world.publish()["points"]
    for fatal in sample(count):
        world.forget()
        assert world.publish(fatal=fatal)["signal"] == 9
        world.is_whole()
        world.has_no_orphans()
        assert world.publish()["signal"] == 0
        world.is_whole()
        assert len(world.registry.ids()) == 2
        world.has_no_orphans()


def test_publish_killed_at_any_time(world: World) -> None:
    """In the middle of a call too."""
    for after_s in np.linspace(0.05, 1.5, max(30 // EVERY, 3)):
        world.forget()
        world.publish(after_s=float(after_s))
        world.is_whole()
        assert world.publish()["signal"] == 0
        world.is_whole()
        world.has_no_orphans()


async def built(release: Release) -> str:
    return release.id


async def test_promote_killed_at_any_point(world: World) -> None:
    """A replica follows: it answers by what the pointer says, old or new."""
    world.publish()
    (new,) = set(world.registry.ids()) - {world.old}
    following = Following(replica="watching", poll_s=0.02, lease_s=0.2, linger_s=0.05)
    replica = await LiveReleases(world.registry, built, following).start()

    async def promote(release_id: str, **fault: Any) -> dict[str, Any]:
        return await asyncio.to_thread(world.jobs, verb="promote", release=release_id, **fault)

    async def answers_by(wanted: str) -> None:
        async with asyncio.timeout(5):
            while await replica.now() != wanted:
                await asyncio.sleep(0.02)

    count, seen = (await promote(new))["points"], set()
    for fatal in sample(count):
        await promote(world.old)
        await answers_by(world.old)
        assert (await promote(new, fatal=fatal))["signal"] == 9
        live = world.registry.live()
        assert live is not None
        assert live.release in (world.old, new)
        seen.add(live.release)
        await answers_by(live.release)
        await asyncio.to_thread(world.is_whole)
        assert (await promote(new))["signal"] == 0
        await answers_by(new)
    assert seen == {world.old, new}, "killed before the pointer moved, and after"
    await promote(world.old)
    replica._task.cancel()
    await asyncio.to_thread(world.has_no_orphans)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own; only root may have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk of its own: {mounted.stderr.strip()}")
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
