"""Changes of a running endpoint under load: `python -m tests.benchmarks.operations.bench_upgrade [requests=20000]`.

The endpoint runs on a cluster of its own by a Serve config, with the environment of cluster.yaml's nodes and without a
job of any driver. wrk asks over connections that it keeps, and another wrk over a new connection for each request.
Meanwhile a limit is raised, new code comes, code comes that does not start, and a node is drained. A request fails
where it is refused (status 400 and above), lost or late. Writes var/bench/upgrade.{md,json}.
"""

import json
import os
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

from rich.console import Console

from conf.schema import Config, load
from serve.deployment.declared import deploy_config
from serve.index.connection import milvus_address
from tests.benchmarks.harness.servers import free_port
from tests.benchmarks.harness.serving_cluster import ALONE, ServingCluster, serving_cluster
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured
from tests.benchmarks.harness.wrk import load as load_with

CLIENTS, K = 2, 10
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
        self.declared: dict[str, Any] = {**deploy_config(config), "proxy_location": "HeadOnly"}
        self.app = self.declared["applications"][0]

    def apply(self, status: str = "RUNNING") -> str:
        """Applies the config as it is now, and waits for what comes of it."""
        self.cluster.apply(self.declared)
        time.sleep(1)
        return self.cluster.await_status(status)

    def replicas(self) -> list[dict[str, Any]]:
        """The replicas of the ingress that run."""
        found = self.cluster.applications()["recommender"]["deployments"]["Recommender"]["replicas"]
        return [replica for replica in found if replica["state"] == "RUNNING"]


def raise_a_limit(endpoint: Endpoint) -> None:
    """More replicas are allowed; those that run go on."""
    before = {replica["replica_id"] for replica in endpoint.replicas()}
    endpoint.app["deployments"][0]["autoscaling_config"]["max_replicas"] += 1
    endpoint.apply()
    assert before <= {replica["replica_id"] for replica in endpoint.replicas()}, "a limit must not restart a replica"


def new_code(endpoint: Endpoint) -> None:
    """Other code: all replicas are replaced."""
    before = {replica["replica_id"] for replica in endpoint.replicas()}
    endpoint.app["runtime_env"] = {"env_vars": {"CODE": str(time.time())}}
    endpoint.apply()
    assert not before & {replica["replica_id"] for replica in endpoint.replicas()}


def code_that_does_not_start(endpoint: Endpoint) -> None:
    """Replicas that cannot start: those from before answer, and the status says why."""
    before = {replica["replica_id"] for replica in endpoint.replicas()}
    whole = deepcopy(endpoint.app)
    endpoint.app["args"]["values"]["index"]["uri"] = "http://127.0.0.1:1"
    endpoint.cluster.apply(endpoint.declared)
    time.sleep(20)
    assert before & {replica["replica_id"] for replica in endpoint.replicas()}, "those from before go on"
    endpoint.app.clear()
    endpoint.app.update(whole)
    endpoint.apply()


def node_drained(endpoint: Endpoint) -> None:
    """A node is taken away after notice; its replicas move to another first."""
    cluster = endpoint.cluster
    here = {replica["node_id"] for replica in endpoint.replicas()}
    cluster.add("second", num_cpus=1)
    time.sleep(5)
    drain(cluster, next(iter(here)))
    ends = time.monotonic() + 60
    while not (there := {replica["node_id"] for replica in endpoint.replicas()}) or there & here:
        assert time.monotonic() < ends, "the replicas do not move"
        time.sleep(0.5)


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
}


def drill(endpoint: Endpoint, change: Change, least: int, round_s: int = 5) -> dict[str, Any]:
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
    time.sleep(round_s / 2)
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


def main(requests: str = "20000", root: str = "var/bench-serve", users: str = "50000") -> None:
    from tests.benchmarks.bench_serve import released

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are sessions of their own, and must be ended
    console, least = Console(), int(requests)
    if root == "var/bench-serve":
        released(2 * int(users), int(users))
    found = {}
    with endpoint(serving(root), int(users), FOLDER / "upgrade-logs") as running:
        for name, change in DRILLS.items():
            found[name] = drill(running, change, least)
            console.print(name, found[name])
    rows = [{"drill": name, **result} for name, result in found.items()]
    write("upgrade", "Changes under load", {"at_least": least, "clients": 2 * CLIENTS}, rows, {}, console)
    path = FOLDER / "upgrade.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **found}, indent=2) + "\n")


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
