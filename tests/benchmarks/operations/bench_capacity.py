"""What one replica takes, and how well the capacity formula predicts it for a catalogue that it has not seen:
`python -m tests.benchmarks.operations.bench_capacity [small=10000] [large=40000] [unseen=25000]`.

An endpoint serves a catalogue of each size, with half as many users, from one replica. CPU time of the replica and of
HAProxy is divided by the requests that wrk sent meanwhile; memory is the replica's own (unique set size). The values of
`capacity.measured` follow from the small and the large catalogue, and are held against the third. CPU time and memory
hardly depend on who else uses the machine. Writes var/bench/capacity.{md,json}.
"""

import sys
from dataclasses import replace
from typing import Any

import psutil
import ray
from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from serve.operations.sizing.config import CapacityConfig, Measured
from serve.operations.sizing.plan import MIB, replica_mib, request_ms
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.harness.servers import free_port, replicas, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import load as load_with
from towers.training.fit import train

K, CLIENTS = 20, 2
RECIPE = (
    "tracking=off", "data.source.interactions_per_user=10", "data.source.num_clusters=100", "train.epochs=1",
    "train.batch_size=2048", "rerank.max_queries=500", "rerank.epochs=1", "evaluate.baselines=[]",
)  # fmt: skip


def main(small: str = "10000", large: str = "40000", unseen: str = "25000", seconds: str = "15") -> None:
    console = Console()
    seen = [take(int(items), int(seconds)) for items in (small, large)]
    console.print(*seen)
    measured = fitted(*seen)
    found = take(int(unseen), int(seconds))
    predicted = predict(measured, int(unseen))
    errors = {f"{name}_error": predicted[name] / found[name] - 1 for name in ("request_cpu_ms", "replica_mib")}
    rows = [*seen, found, {**found, **predicted, "what": "predicted"}]
    facts = {"small": small, "large": large, "unseen": unseen, **{f: getattr(measured, f) for f in FITTED}}
    write("capacity", "What one replica takes", facts, rows, errors, console)


FITTED = ("request_cpu_ms", "item_cpu_ns", "replica_mib", "item_bytes", "user_bytes")


def take(items: int, seconds: int) -> dict[str, Any]:
    """Measures a replica that serves so many items."""
    root = f"var/bench-capacity/{items}"
    overrides = (
        *RECIPE,
        f"storage.root={root}",
        f"data.source.num_items={items}",
        f"data.source.num_users={items // 2}",
    )
    config = load(overrides)
    storage = Folder.of(root)
    connect(ClusterConfig(dashboard=False))
    release_id = publish(config.index, train(config, prepare(config.data, storage), storage), storage)
    ReleaseRegistry.of(storage).promote(release_id)
    ray.shutdown()
    port = free_port()
    own = (f"storage.root={root}", f"serve.port={port}", "serve.timeout_ms=2000", "serve.ingress.max_replicas=1")
    with server("serve.run", (*own, "guard.enabled=false"), port, FOLDER / "capacity.log") as address:
        load_with(address, items // 2, K, CLIENTS, 5)
        working = [*replicas("Recommender"), *_proxies()]
        before = sum(sum(process.cpu_times()[:2]) for process in working)
        sent = load_with(address, items // 2, K, CLIENTS, seconds)
        spent_s = sum(sum(process.cpu_times()[:2]) for process in working) - before
        memory = replicas("Recommender")[0].memory_full_info().uss / MIB
    return {
        "what": "measured",
        "items": items,
        "request_cpu_ms": 1000 * spent_s / sent.requests,
        "replica_mib": memory,
        "p99_ms": sent.p99_ms,
        "requests": sent.requests,
    }


def _proxies() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == "haproxy"]


def fitted(small: dict[str, Any], large: dict[str, Any]) -> Measured:
    """The values of the formula by which both measurements are exact; a user takes as much memory as an item."""
    more = large["items"] - small["items"]
    item_cpu_ms = max(large["request_cpu_ms"] - small["request_cpu_ms"], 0.0) / more
    per_item_mib = max(large["replica_mib"] - small["replica_mib"], 0.0) / more
    row_bytes = per_item_mib * MIB / 1.5  # with half as many users
    return replace(
        Measured(),
        request_cpu_ms=small["request_cpu_ms"] - small["items"] * item_cpu_ms,
        item_cpu_ns=1e6 * item_cpu_ms,
        replica_mib=small["replica_mib"] - small["items"] * per_item_mib,
        item_bytes=row_bytes,
        user_bytes=row_bytes,
    )


def predict(measured: Measured, items: int) -> dict[str, float]:
    """What the formula says of a replica with one release."""
    asked = CapacityConfig(items=items, users=items / 2, releases=1, measured=measured)
    return {"request_cpu_ms": request_ms(measured, items, 50_000)[0], "replica_mib": replica_mib(asked)}


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
