"""Publishing beside bare pymilvus upserts of the same rows to the same Milvus, in one run:
`python -m tests.benchmarks.bench_publish [items=100000] [uri=var/bench-publish/milvus.db]`.

Bare: rows that lie ready as pymilvus takes them, upserted batch by batch into a collection of the same schema; nothing
else is timed. Then what publishing adds: rows made of Arrow; flush, index and count; and all of it, from the checkpoint
to the release, with vectors by the item tower and verification. Its memory is that of the process and of all its
workers. Writes var/bench/publish.{md,json}.
"""

import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import ray
from rich.console import Console

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from serve.index.collection import create, drop, entities, upsert_all, write_collection
from serve.index.config import IndexConfig
from serve.index.connection import connected, milvus_address
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.harness.tables import write
from towers.checkpoint.batch_embedding import embedded_items
from towers.checkpoint.checkpoint import Checkpoint
from towers.training.fit import train

ROOT = "var/bench-publish"
BARE = "twotower_ray_bare"
SETTLE_S = 15
"""What was dropped keeps a server busy for a while."""


def main(items: str = "100000", uri: str = f"{ROOT}/milvus.db") -> None:
    console, config = Console(), configured(int(items), uri)
    storage = Folder.of(config.storage.root)
    connect(ClusterConfig())
    checkpoint = train(config, prepare(config.data, storage), storage)
    with milvus_address(config.index):
        bare_s = bare(config.index, checkpoint)
        rows_s, whole_s = written(config.index, checkpoint, upserts_only=True), written(config.index, checkpoint)
        forget(storage)
        with Memory() as memory:
            started = time.perf_counter()
            publish(config.index, checkpoint, storage)
            publish_s = time.perf_counter() - started
    ray.shutdown()
    number = int(items)
    took = {
        "bare pymilvus upserts": bare_s,
        "the same from Arrow, rows made of it": rows_s,
        "that, flushed, indexed, loaded, counted": whole_s,
        "publish, from checkpoint to verified release": publish_s,
    }
    rows = [{"what": what, "seconds": seconds, "items_per_s": number / seconds} for what, seconds in took.items()]
    ratios = {
        "upsert_rate_ratio": bare_s / rows_s,
        "collection_rate_ratio": bare_s / whole_s,
        "publish_rate_ratio": bare_s / publish_s,
        "memory_mib": memory.most,
    }
    facts = {"items": number, "dimension": config.model.embedding_dim, "batch": config.index.upsert_batch, "uri": uri}
    write("publish", "Publishing beside bare upserts", facts, rows, ratios, console)


def configured(items: int, uri: str) -> Config:
    return load(
        [
            f"storage.root={ROOT}", f"index.uri={uri}", "tracking=off", f"data.source.num_items={items}",
            "data.source.num_users=5000", "data.source.interactions_per_user=20",
            "data.source.num_clusters=200", "train.epochs=1", "train.batch_size=2048", "rerank.max_queries=1000",
            "rerank.epochs=1", "evaluate.baselines=[]",
        ]
    )  # fmt: skip


def batches(config: IndexConfig, checkpoint: Checkpoint) -> list[pa.Table]:
    """What the item tower gives, ready."""
    return list(embedded_items(checkpoint, config.upsert_batch))


def bare(config: IndexConfig, checkpoint: Checkpoint) -> float:
    """Seconds of the upserts alone."""
    features, dim = checkpoint.items.features, checkpoint.model.config.embedding_dim
    ready = [entities(batch, features) for batch in batches(config, checkpoint)]
    with connected(config) as client:
        client.drop_collection(BARE, timeout=60)
        create(client, config, BARE, features, dim)
        started = time.perf_counter()
        for batch in ready:
            client.upsert(BARE, batch, timeout=60)
        seconds = time.perf_counter() - started
    dropped(config)
    return seconds


def dropped(config: IndexConfig) -> None:
    """Removed, and Milvus at rest again."""
    drop(config, BARE)
    time.sleep(SETTLE_S)


def written(config: IndexConfig, checkpoint: Checkpoint, upserts_only: bool = False) -> float:
    """Seconds of a whole collection out of vectors that are there."""
    ready, dim, features = batches(config, checkpoint), checkpoint.model.config.embedding_dim, checkpoint.items.features
    started = time.perf_counter()
    if upserts_only:
        with connected(config) as client:
            create(client, config, BARE, features, dim)
            upsert_all(client, config, BARE, ready, features)
    else:
        write_collection(config, BARE, ready, features, dim)
    seconds = time.perf_counter() - started
    dropped(config)
    return seconds


def forget(storage: Folder) -> None:
    """As if it had never been published."""
    registry = ReleaseRegistry.of(storage)
    for id_ in registry.ids():
        registry.path(id_).delete()


class Memory:
    """The most that this process and its children hold beyond what they held before, in MiB."""

    def __init__(self) -> None:
        self.most = 0.0
        self._before = self._held()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _held(self) -> float:
        raylets = [p for p in psutil.process_iter(["cmdline"]) if " ".join(p.info["cmdline"] or []).startswith("ray::")]
        own = psutil.Process()
        total = 0
        for process in {own, *own.children(recursive=True), *raylets}:
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total / 2**20

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            self.most = max(self.most, self._held() - self._before)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


if __name__ == "__main__":
    Path(ROOT).mkdir(parents=True, exist_ok=True)
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
