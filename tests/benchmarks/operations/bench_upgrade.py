"""Changes of a running endpoint under load: `python -m tests.benchmarks.operations.bench_upgrade [requests=20000]`.

The endpoint runs on a cluster of its own by a Serve config, with the environment of cluster.yaml's nodes and without a
job of any driver. wrk asks over connections that it keeps, and another wrk over a new connection for each request.
Meanwhile a limit is raised, new code comes, code comes that does not start, a node is drained, and the head dies and
comes back from what Redis holds; in this last drill requests go to the proxy of a node with replicas, as KubeRay leaves
the head out of its Service. A request fails where it is refused (status 400 and above), lost or late. only="new code"
makes one drill alone. Writes var/bench/upgrade.{md,json}.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from conf.schema import Config, load
from serve.deployment.declared import deploy_config
from serve.index.connection import milvus_address
from serve.releases.registry import POINTER
from tests.benchmarks.harness.servers import free_port
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, refuse_without_wrk
from tests.benchmarks.harness.wrk import load as load_with
from tests.benchmarks.operations.bench_capacity import released
from tests.benchmarks.operations.serving_cluster import ALONE, ServingCluster, serving_cluster

CLIENTS, K = 2, 10
ITEMS, USERS = 20_000, 10_000
HEAD_DRILL = "the head restarted"
DAMAGED, CAUSE = FOLDER / "upgrade-damaged", "not a live pointer"
"""A storage with a damaged pointer, and what replicas say of it."""

AWAY_S = 5.0
"""How long there is no head."""
CLOSING = ("Connection: close",)

Change = Callable[["Endpoint"], None]


class Endpoint:
    """The endpoint on its cluster, and the Serve config by which it runs.

    Args:
        cluster: where it runs.
        config: what it serves.
        users: the number of users that requests are about.
    """

    def __init__(self, cluster: ServingCluster, config: Config, users: int) -> None:
        self.cluster, self.users = cluster, users
        self.address = f"http://127.0.0.1:{config.serve.port}"
        self.declared: dict[str, Any] = deploy_config(config)
        self.app = self.declared["applications"][0]

    def ask_node(self, name: str) -> None:
        """Sends requests to the proxy of a node from now on, in place of the head's."""
        self.address = f"http://127.0.0.1:{self.cluster.proxy_ports[name]}"
        self.cluster.wait(lambda: httpx.get(f"{self.address}/readyz").status_code == httpx.codes.OK, self.address)

    def apply(self, status: str = "RUNNING") -> str:
        """Applies the config as it is now, and waits for what comes of it."""
        self.cluster.apply(self.declared)
        time.sleep(1)
        return self.cluster.await_status(status)


def raise_a_limit(endpoint: Endpoint) -> None:
    """More replicas are allowed; those that run go on."""
    before = endpoint.cluster.replica_ids()
    endpoint.app["deployments"][0]["autoscaling_config"]["max_replicas"] += 1
    endpoint.apply()
    assert before <= endpoint.cluster.replica_ids(), "a limit must not restart a replica"


def new_code(endpoint: Endpoint) -> None:
    """Other code: all replicas are replaced."""
    before = endpoint.cluster.replica_ids()
    endpoint.app["runtime_env"] = {"env_vars": {"CODE": str(time.time())}}
    endpoint.apply()
    assert not before & endpoint.cluster.replica_ids()


def code_that_does_not_start(endpoint: Endpoint) -> None:
    """Replicas that cannot start, as the pointer is damaged: those from before answer, and the status says why."""
    before = endpoint.cluster.replica_ids()
    whole = deepcopy(endpoint.app)
    (DAMAGED / "releases").mkdir(parents=True, exist_ok=True)
    (DAMAGED / "releases" / POINTER).write_text("{")
    endpoint.app["args"]["values"]["storage"]["root"] = str(DAMAGED.absolute())
    endpoint.cluster.apply(endpoint.declared)
    endpoint.cluster.wait(lambda: CAUSE in endpoint.cluster.complaints(), "a status that says why")
    assert endpoint.cluster.applications()["recommender"]["status"] != "RUNNING"
    assert before & endpoint.cluster.replica_ids(), "those from before go on"
    endpoint.app.clear()
    endpoint.app.update(whole)
    endpoint.apply()


def node_drained(endpoint: Endpoint) -> None:
    """A node is taken away after notice; its replicas move to another first."""
    cluster = endpoint.cluster
    here = {replica["node_id"] for replica in endpoint.cluster.replicas()}
    cluster.add("second", num_cpus=1)
    time.sleep(5)
    drain(cluster, next(iter(here)))
    ends = time.monotonic() + 60
    while not (there := {replica["node_id"] for replica in endpoint.cluster.replicas()}) or there & here:
        assert time.monotonic() < ends, "the replicas do not move"
        time.sleep(0.5)


def head_restarted(endpoint: Endpoint) -> None:
    """The head dies with all of its processes, and a new one goes on from Redis; a change is then taken as before."""
    cluster = endpoint.cluster
    before = endpoint.cluster.replica_ids()
    cluster.kill("head")
    time.sleep(AWAY_S)
    cluster.start_head()
    cluster.await_status()
    assert before == endpoint.cluster.replica_ids(), "replicas outlive the head"
    raise_a_limit(endpoint)


def drain(cluster: ServingCluster, node_id: str) -> None:
    """Tells Ray that a node will go."""
    command = [
        str(Path(sys.executable).with_name("ray")), "drain-node", f"--address=127.0.0.1:{cluster.port}",
        f"--node-id={node_id}", "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=drill",
        "--deadline-remaining-seconds=120",
    ]  # fmt: skip
    subprocess.run(command, env={**os.environ, **ALONE}, check=True, capture_output=True)


DRILLS: dict[str, Change] = {
    "raise a limit": raise_a_limit,
    "new code": new_code,
    "new code that does not start": code_that_does_not_start,
    "a node drained": node_drained,
    HEAD_DRILL: head_restarted,
}
"""In this order: the first node is gone after it was drained, and requests then go to the second node's proxy."""


def drill(endpoint: Endpoint, change: Change, least: int, round_s: int = 10) -> dict[str, Any]:
    """Makes a change under load, which goes on until it is done and at least so many requests were sent.

    Returns:
        What became of the requests, and how long the change took.
    """
    found: list[Measured] = []
    changed = threading.Event()

    def ask(headers: tuple[str, ...]) -> None:
        while not changed.is_set() or sum(measured.requests for measured in found) < least:
            found.append(load_with(endpoint.address, endpoint.users, K, CLIENTS, round_s, headers=headers))

    asking = [threading.Thread(target=ask, args=(headers,)) for headers in ((), CLOSING)]
    for thread in asking:
        thread.start()
    time.sleep(3)
    started = time.monotonic()
    try:
        change(endpoint)
    finally:
        changed_s = time.monotonic() - started
        changed.set()
        for thread in asking:
            thread.join()
    return {
        "requests": sum(measured.requests for measured in found),
        "failed": sum(measured.refused + measured.broken for measured in found),
        "changed_s": changed_s,
        "p99_ms": max(measured.p99_ms for measured in found),
    }


@contextmanager
def endpoint(config: Config, users: int, folder: Path) -> Iterator[Endpoint]:
    """The endpoint on a cluster with one node for replicas."""
    with ExitStack() as stack:
        stack.enter_context(milvus_address(config.index))
        cluster = stack.enter_context(serving_cluster(folder))
        cluster.add("first", num_cpus=1)
        running = Endpoint(cluster, config, users)
        running.apply()
        load_with(running.address, users, K, 2, 3)
        yield running


def serving(root: str, *overrides: str) -> Config:
    """The config of the endpoint: one replica to begin with, on a port of its own."""
    own = (
        f"storage.root={root}", f"serve.port={free_port()}", "serve.timeout_ms=2000",
        "serve.ingress.num_cpus=0.1", "serve.ingress.max_replicas=1", "guard.enabled=false",
    )  # fmt: skip
    return load([*own, *overrides])


def main(requests: str = "20000", root: str = "", only: str = "") -> None:
    refuse_without_wrk()
    if shutil.which("redis-server") is None:
        raise SystemExit("error: there is no Redis server: apt-get install redis-server")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are sessions of their own, and must be ended
    console, least = Console(), int(requests)
    if not root:
        root = f"var/bench-capacity/{ITEMS}-{USERS}"
        released(root, ITEMS, USERS)
    found = {}
    with endpoint(serving(root), USERS, FOLDER / "upgrade-logs") as running:
        for name, change in DRILLS.items():
            if only and name != only:
                continue
            if name == HEAD_DRILL:
                running.ask_node(list(running.cluster.nodes)[-1])
            found[name] = drill(running, change, least)
            console.print(name, found[name])
    rows = [{"drill": name, **result} for name, result in found.items()]
    write("upgrade", "Changes under load", {"at_least": least, "clients": 2 * CLIENTS}, rows, {}, console)
    path = FOLDER / "upgrade.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **found}, indent=2) + "\n")


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
