"""A storage with releases, on which `tests.serve.releases.crashing_process` publishes and promotes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from conf.schema import FOLDER
from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from serve.index.collection import list_collections
from serve.index.config import IndexConfig
from serve.index.connection import connected
from serve.releases.prune import prune
from serve.releases.registry import ReleaseRegistry
from serve.releases.verify import verify
from towers.checkpoint.checkpoint import Checkpoint

EVERY = 1 if os.environ.get("CRASHES") == "all" else 9
"""Of the points of publish and promote one in so many is tested; CRASHES=all tests every one of them (minutes)."""


def silent(_: str) -> None:
    pass


class Jobs:
    """The process whose forks do the work."""

    def __init__(self, folder: Path, setup: dict[str, str]) -> None:
        (folder / "setup.json").write_text(json.dumps(setup))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.serve.releases.crashing_process", str(folder / "setup.json")],
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
        self.registry = ReleaseRegistry.of(Folder.of(str(folder)))
        self._vectors = scratch / "vectors.parquet"
        item_ND = parts.item_vectors_ID[1:].numpy()
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
        assert set(hidden) <= {".under-way", ".replicas", ".history", ".prune.lock"}
        assert self.registry.in_progress.all() == []
