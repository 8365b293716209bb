"""cluster.yaml at work on Ray's fake nodes: `python -m tests.benchmarks.operations.bench_cluster [seconds=10]`.

A training with two workers asks for trainers, and a trainer of another is killed in mid-epoch; then more tasks ask for
GPUs than there may be. The endpoint's replicas fill the servers that `min_workers` keeps; load asks for more, and a
server is killed under it, which another one replaces. After each the nodes go again. Times are from the demand to the
node, to the first work on it (for a training, its first whole epoch), and from the end of the work (its last epoch) to
the last node's going; `over_max` counts the looks at which more nodes than `max_workers` were there. The load comes in
turns of some seconds. Writes var/bench/cluster.{md,json,png}.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import yaml
from rich.console import Console

from conf.schema import load
from serve.deployment.declared import deploy_config
from serve.index.connection import milvus_address
from tests.benchmarks.harness.servers import free_port
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, refuse_without_wrk
from tests.benchmarks.harness.wrk import load as load_with
from tests.benchmarks.operations.bench_capacity import released
from tests.benchmarks.operations.fake_cluster import (
    CLUSTER_YAML,
    FAKE_ENVIRONMENT,
    NodeWatch,
    fake_cluster,
    kill_node,
)
from tests.benchmarks.operations.serving_cluster import ServingCluster
from tests.conftest import TINY

PATIENCE_S, K, CLIENTS = 180, 10, 24
ITEMS, USERS = 20_000, 10_000
LIMITS = yaml.safe_load(CLUSTER_YAML.read_text())["available_node_types"]
TRAINING = ("train.num_workers=2", "train.labels.role=trainer", "train.epochs=8", "train.patience=0")

ASK = """
import sys, time
import ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)

@ray.remote(num_cpus=1, num_gpus=4, label_selector={"role": "trainer"})
def role(seconds):
    time.sleep(seconds)
    return ray.get_runtime_context().get_node_labels()["role"]

print("ran on", *ray.get([role.remote(float(sys.argv[3])) for _ in range(int(sys.argv[2]))]), flush=True)
"""


def train(cluster: ServingCluster, watch: NodeWatch, root: Path, kill: bool) -> dict[str, float]:
    """Trains on nodes that come for it; with `kill`, the first one dies once an epoch is over."""
    began = time.monotonic()
    training = run("-m", "towers.train", *TINY, *TRAINING, f"storage.root={root}", f"cluster.address={cluster.address}")
    told = ""
    try:
        up_s = watch.wait(lambda: watch.num("trainer") > 0 or training.poll() is not None, PATIENCE_S)
        watch.wait(lambda: bool(epochs(root)) or training.poll() is not None, PATIENCE_S)
        work_s = time.monotonic() - began
        if kill:
            assert training.poll() is None, "the training has ended before its trainer could be killed"
            there = watch.ids("trainer")
            kill_node(there[0])
            watch.wait(lambda: bool(set(watch.ids("trainer")) - set(there)), PATIENCE_S)  # another one comes
        told, _ = training.communicate(timeout=PATIENCE_S)
    finally:
        end(training)
    assert training.returncode == 0, told[-3000:]
    watch.wait(lambda: watch.num("trainer") == LIMITS["trainer"]["min_workers"], PATIENCE_S)
    ended = max(state.stat().st_mtime for state in epochs(root))  # what follows the epochs needs no trainer
    down_s = watch.last("trainer") - (ended - time.time() + time.monotonic())
    return {"node_up_s": up_s, "first_work_s": work_s, "node_down_s": down_s}


def epochs(root: Path) -> list[Path]:
    """Whole training states of runs."""
    return list(root.glob("training/*/checkpoint_*/state.json"))


def ask_for_too_many(cluster: ServingCluster, watch: NodeWatch) -> None:
    """Twice as many tasks as trainers may be there ask for a GPU node each; all of them run, one after the other."""
    most = LIMITS["trainer"]["max_workers"]
    asking = run("-c", ASK, cluster.address, str(2 * most), "3")
    try:
        told, _ = asking.communicate(timeout=PATIENCE_S)
    finally:
        end(asking)
    assert told.split("ran on")[-1].split() == ["trainer"] * 2 * most, told[-3000:]
    watch.wait(lambda: watch.num("trainer") == 0, PATIENCE_S)


def serve(cluster: ServingCluster, watch: NodeWatch, root: str, seconds: int, users: int = USERS) -> dict[str, float]:
    """Serves on the node that is there, then under load on more, of which one is killed, then on one again."""
    config = load(
        [
            f"storage.root={root}", f"serve.port={free_port()}", "serve.timeout_ms=2000", "guard.enabled=false",
            "serve.ingress.num_cpus=5", "serve.ingress.max_replicas=2", "serve.ingress.target_ongoing_requests=4",
            "serve.ingress.downscale_delay_s=5", "+serve.ingress.labels.role=server",
        ]
    )  # fmt: skip
    address = f"http://127.0.0.1:{config.serve.port}"
    with milvus_address(config.index):
        cluster.apply({**deploy_config(config), "proxy_location": "HeadOnly"})
        cluster.await_status()
        load_with(address, users, K, 2, 3)
        least = watch.num("server")
        with asked(address, users, seconds) as found:
            up_s = watch.wait(lambda: watch.num("server") > least, PATIENCE_S)
            work_s = up_s + cluster.wait(lambda: len(cluster.replicas()) == 2, "a second replica")
            time.sleep(seconds)
            first, second = cluster.replicas()
            kill_node(second["node_id"])
            known = {first["replica_id"], second["replica_id"]}
            cluster.wait(lambda: bool(cluster.replica_ids() - known), "a replica in place of the killed one")
            time.sleep(seconds)
        down_s = watch.wait(lambda: watch.num("server") == LIMITS["server"]["min_workers"], PATIENCE_S)
        cluster.wait(lambda: len(cluster.replicas()) == 1, "one replica again")
        after = load_with(address, users, K, 2, 3)
    assert after.refused + after.broken == 0, after
    lost = {name: sum(getattr(each, name) for each in found) for name in ("requests", "refused", "broken")}
    return {"node_up_s": up_s, "first_work_s": work_s, "node_down_s": down_s, **lost}


@contextmanager
def asked(address: str, users: int, seconds: int) -> Iterator[list[Measured]]:
    """Load as long as the block lasts, in turns of some seconds, each of which adds what it has measured."""
    found, stop = list[Measured](), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            found.append(load_with(address, users, K, CLIENTS, seconds))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield found
    finally:
        stop.set()
        asking.join()


def over_max(watch: NodeWatch) -> int:
    """At how many looks more nodes of a type were there than it may have."""
    return sum(count > limits.get("max_workers", 1) for role, limits in LIMITS.items() for count in watch.counts(role))


def run(*command: str) -> subprocess.Popen[str]:
    """A Python in the environment of the cluster."""
    environment = {**os.environ, **FAKE_ENVIRONMENT, "PYTHONPATH": str(Path.cwd())}
    out = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=out, stderr=subprocess.STDOUT, text=True
    )


def end(process: subprocess.Popen[str]) -> None:
    """Ends it, if it has not ended."""
    if process.poll() is None:
        process.kill()
        process.wait()


def main(seconds: str = "10") -> None:
    refuse_without_wrk()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are sessions of their own, and must be ended
    console, root = Console(), f"var/bench-capacity/{ITEMS}-{USERS}"
    released(root, ITEMS, USERS)
    folder = FOLDER / "cluster-logs"
    with fake_cluster(folder) as (cluster, watch):
        watch.wait(lambda: watch.num("server") == LIMITS["server"]["min_workers"], PATIENCE_S)
        rows: list[dict[str, Any]] = [{"work": "training", **train(cluster, watch, folder / "train", kill=False)}]
        console.print(rows[-1])
        rows.append({"work": "training, trainer killed", **train(cluster, watch, folder / "killed", kill=True)})
        console.print(rows[-1])
        ask_for_too_many(cluster, watch)
        rows.append({"work": "endpoint, server killed", **serve(cluster, watch, root, int(seconds))})
        console.print(rows[-1])
        plot(watch)
    columns = list(rows[-1])
    training, _, serving = rows
    ratios = {
        **{f"train_{name}": training[name] for name in ("node_up_s", "first_work_s", "node_down_s")},
        **{f"serve_{name}": serving[name] for name in ("node_up_s", "first_work_s", "node_down_s")},
        "requests": serving["requests"],
        "failed": serving["refused"] + serving["broken"],
        "over_max": over_max(watch),
    }
    rows = [{column: row.get(column) for column in columns} for row in rows]
    write("cluster", "cluster.yaml on fake nodes", {"clients": CLIENTS, "seconds": seconds}, rows, ratios, console)


def plot(watch: NodeWatch) -> None:
    """Nodes of each type over time."""
    _, axes = plt.subplots(figsize=(9, 3))
    began = watch.seen[0][0]
    times = [when - began for when, _ in watch.seen]
    for role in ("trainer", "server"):
        axes.step(times, watch.counts(role)[: len(times)], where="post", label=role)
    axes.set(xlabel="seconds", ylabel="nodes")
    axes.legend()
    plt.savefig(FOLDER / "cluster.png", dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
