"""From the row of a new item to its first appearance in an answer, on an endpoint that runs:
`python -m tests.benchmarks.bench_refresh [items=20000] [rounds=5]`.

An operator's own commands: `serve.refresh rows=... promote=true`; beside it what there is without, a training on the
same log and publish and promote; and `serve.withdraw`. A client asks all the while, with a filter that only the new
item passes. Writes var/bench/refresh.{md,json}.
"""

import csv
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import ray
from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from serve.client import RecommendClient
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.harness.servers import free_port, server, used_by
from tests.benchmarks.harness.tables import FOLDER, write
from towers.training.fit import train

ROOT = Path("var/bench-refresh")
ASK_EVERY_S, WITHIN_S = 0.01, 600.0


def overrides(items: int) -> tuple[str, ...]:
    return (
        f"storage.root={ROOT}", f"index.uri={ROOT}/milvus.db", "tracking=off", f"data.source.num_items={items}",
        "data.source.num_users=5000", "data.source.num_clusters=100", "train.epochs=3", "rerank.max_queries=1000",
    )  # fmt: skip


def main(items: str = "20000", rounds: str = "5") -> None:
    console, own = Console(), overrides(int(items))
    config, storage = load(own), Folder.of(str(ROOT))
    connect(ClusterConfig())
    registry = ReleaseRegistry.of(storage)
    registry.promote(publish(config.index, train(config, prepare(config.data, storage), storage), storage))
    ray.shutdown()
    port = free_port()
    one = [f"serve.ingress.{name}_replicas=1" for name in ("min", "max")]
    took: dict[str, list[float]] = {"refresh": [], "withdraw": [], "train, publish, promote": []}
    with (
        server(
            "serve.run", [*used_by("serve.run", own), *one, f"serve.port={port}"], port, FOLDER / "refresh.log"
        ) as address,
        RecommendClient(address, timeout_s=30) as client,
    ):
        for number in range(int(rounds)):
            item_id = f"new{number}-{time.time_ns()}"
            with asked_until(lambda id_=item_id: shown(client, id_), took["refresh"]):  # type: ignore[misc]
                verb("serve.refresh", own, f"rows={row(item_id)}", "promote=true")
            with asked_until(lambda id_=item_id: not shown(client, id_), took["withdraw"]):  # type: ignore[misc]
                verb("serve.withdraw", own, f"items=[{item_id}]", "reason=benchmark")
            console.print({name: round(seconds[-1], 2) for name, seconds in took.items() if seconds})
        before = client.live().release_id
        with asked_until(lambda: client.live().release_id != before, took["train, publish, promote"]):
            verb("towers.train", own, "seed=1")
            verb("serve.publish", own, "seed=1", "force=true", "reason=benchmark")
            verb("serve.promote", own)
    rows = [
        {"command": name, "seconds_p50": float(np.median(of)), "seconds_max": max(of), "rounds": len(of)}
        for name, of in took.items()
    ]
    refreshed, retrained = (float(np.median(took[name])) for name in ("refresh", "train, publish, promote"))
    ratios = {
        "first_appearance_s": refreshed,
        "withdrawn_s_max": max(took["withdraw"]),
        "refresh_over_retraining": refreshed / retrained,
    }
    facts = {"items": int(items), "dimension": config.model.embedding_dim}
    write("refresh", "From a new item's row to its first appearance", facts, rows, ratios, console)


def row(item_id: str) -> Path:
    """A file with one new item."""
    path = ROOT / "new.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "genres", "studio", "year", "words", "length"])
        writer.writerow([item_id, "Fresh", "Drama|Comedy", item_id, 2026, "Fresh", "short"])
    return path


def shown(client: RecommendClient, item_id: str) -> bool:
    """Is it in an answer?"""
    only = {"field": "studio", "op": "==", "value": item_id}
    return bool(client.recommend(user_id="u00101", k=1, filter=only).items)


def verb(module: str, own: Sequence[str], *arguments: str) -> None:
    """What an operator types."""
    subprocess.run(
        [sys.executable, "-m", module, *used_by(module, own), *arguments], check=True, stdout=subprocess.DEVNULL
    )


@contextmanager
def asked_until(holds: Callable[[], bool], took: list[float]) -> Iterator[None]:
    """Asks while the block runs, and afterwards until it holds; appends the seconds from the beginning to then."""
    started = time.perf_counter()
    found: list[float] = []

    def ask() -> None:
        while not holds():
            if time.perf_counter() - started > WITHIN_S:
                return
            time.sleep(ASK_EVERY_S)
        found.append(time.perf_counter() - started)

    asking = Thread(target=ask)
    asking.start()
    yield
    asking.join()
    if not found:
        raise RuntimeError(f"not in {WITHIN_S:g} s")
    took.append(found[0])


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
