"""Publishes or promotes in a child process that dies, or whose disk is full, at a chosen point.

`python -m tests.serve.releases.crashing_process SETUP.json` reads one job as JSON per line of stdin, and writes its
outcome as JSON per line of stdout. A point lies before, and after, each call that changes something outside the
process: in the storage, or in Milvus. This process imports everything and does nothing itself; each job is a fork of
it.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import fs
from pymilvus import MilvusClient

import serve.releases.publish
import serve.rollout.promotion
from data.artifacts.folders import Folder
from serve.index.config import IndexConfig
from serve.releases.registry import ReleaseRegistry
from tests.serve.crash_points import Points
from towers.checkpoint.checkpoint import open_checkpoint

CHANGES = (
    (Folder, ("create", "delete", "write_bytes", "write_table")),
    (Path, ("rename", "replace")),
    (fs, ("copy_files",)),
    (
        MilvusClient,
        ("drop_collection", "create_collection", "upsert", "flush", "create_index", "load_collection", "query"),
    ),
)
WITHIN_S = 20


class Vectors:
    """What the item tower gives, computed beforehand: no job needs a Ray session."""

    def __init__(self, path: str) -> None:
        self._path = path

    def iter_batches(self, batch_size: int, batch_format: str) -> Iterator[pa.Table]:
        yield from (pa.Table.from_batches([batch]) for batch in pq.read_table(self._path).to_batches(batch_size))


def work(setup: dict[str, str], job: dict[str, Any]) -> dict[str, Any]:
    """Does a job; returns how many points it passed."""
    torch.set_num_threads(1)
    storage, index = Folder.of(setup["root"]), IndexConfig(uri=setup["uri"], upsert_batch=32)
    points = Points(job.get("fatal", 0))
    for owner, names in CHANGES:
        for name in names:
            setattr(owner, name, points.around(getattr(owner, name)))
    if (after_s := job.get("after_s")) is not None:
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if job["verb"] == "publish":
        serve.releases.publish.item_vectors = lambda *_: Vectors(job["vectors"])  # type: ignore[assignment]
        serve.releases.publish.publish(index, open_checkpoint(Folder.of(job["checkpoint"])), storage, lambda _: None)
    else:
        serve.rollout.promotion.promote(index, ReleaseRegistry.of(storage), job["release"], WITHIN_S, lambda _: None)
    return {"points": points.passed}


def forked(setup: dict[str, str], job: dict[str, Any]) -> dict[str, Any]:
    """A job in a child: what it says, and the signal that it died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            said = work(setup, job)
        except (ValueError, OSError) as e:  # what an operator sees as one line
            said = {"error": f"{type(e).__name__}: {e}"}
        except BaseException:
            said = {"traceback": traceback.format_exc()}
        os.write(writing, json.dumps(said).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said or b"{}") | {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}


if __name__ == "__main__":
    settings = json.loads(Path(sys.argv[1]).read_text())
    for line in sys.stdin:
        print(json.dumps(forked(settings, json.loads(line))), flush=True)
