"""The endpoint beside what a team writes by hand and beside Ray Serve the ordinary way, in one run on one machine:
`python -m tests.benchmarks.bench_serve [seconds=5] [rounds=5] [items=100000] [only=own-proxy|keys]`.

The same release for all: 64 dimensions, 200 candidates, a DCN-v2 re-ranker, the best 20 as JSON. wrk makes the load:
one client, then 32, each asking again as soon as it has its answer. What is compared is up at the same time and takes
turns, since a machine's speed changes from minute to minute. `fused` also reads each user's state and records what it
answers, which nothing beside it does; `fused-eventless` does neither. `own-proxy` is the endpoint without HAProxy; with
only=own-proxy nothing but this pair is measured. With only=keys it is the endpoint that asks for keys (`keys`), and
with a key that has a rate (`rate`), beside the one that asks nobody (`haproxy`).

Then arrivals at twice and ten times what the endpoint can do, in turns with what it can do. For that wrk keeps to the
last core and yields to the endpoint there (nice 10): what it costs to ask, and to be refused, is not the endpoint's,
and would fall on other machines. How many times the capacity has really arrived is measured (`overload_offered_10x`).
Writes var/bench/serve.{md,json,png}.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from functools import cache

import httpx
import matplotlib.pyplot as plt
import numpy as np
import ray
from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.machine import USES_HAPROXY
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from serve.access.config import KeyConfig
from serve.access.key_file import KeyFile
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.harness.overload import FLOODING, Overload, overloaded
from tests.benchmarks.harness.serve_ratios import (
    EVENTLESS,
    KEYED,
    MANY,
    OWN,
    flood_ratios,
    key_ratios,
    own_ratios,
    ratios,
)
from tests.benchmarks.harness.servers import free_port, metrics_address, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, refuse_without_wrk, together
from tests.benchmarks.harness.wrk import load as load_with
from towers.training.fit import train

ROOT = "var/bench-serve"
K, CANDIDATES = 20, 200
ONLY = {"own-proxy": OWN, "keys": KEYED}

PAIRS = (("floor", EVENTLESS, "fused"), ("staged", "ordinary"), OWN)
"""Compared with each other."""

OVERRIDES = (
    f"storage.root={ROOT}",
    "tracking=off",
    "data.source.interactions_per_user=20",
    "data.source.num_clusters=200",
    "model.hidden_dim=128",
    "train.epochs=1",
    "train.batch_size=2048",
    "rerank.max_queries=2000",
    "rerank.epochs=2",
    "evaluate.baselines=[]",
)


def main(seconds: str = "5", rounds: str = "5", items: str = "100000", only: str = "") -> None:
    console, length, users = Console(), int(seconds), int(items) // 2
    release_id = released(int(items), users)
    found: dict[str, dict[int, Measured]] = {}
    for pair in [ONLY[only]] if only else PAIRS:
        console.print(f"measuring {' and '.join(pair)}")
        with ExitStack() as stack:
            addresses = {name: stack.enter_context(started(name, release_id)) for name in pair}
            found |= turns(addresses, users, int(rounds), length)
            if "fused" in pair:
                stages = stage_ms()
        console.print({f"{name}, {c} clients": shown(m) for name in pair for c, m in found[name].items()})
    rows = [{"endpoint": n, "clients": c, **shown(m)} for n, by_clients in found.items() for c, m in by_clients.items()]
    given = facts(items, length, int(rounds))
    if only == "keys":
        write("serve-keys", "With API keys", given, rows, key_ratios(found), console)
        return
    if only == "own-proxy":
        with started("own-proxy", release_id) as address:
            warm(address, users)
            capacity, overload = overloaded(address, users, K, MANY, int(rounds), length)
        rows += flooded_rows("own-proxy", capacity, overload)
        write("serve-own-proxy", "Without HAProxy", given, rows, own_ratios(found) | flood_ratios(overload), console)
        return
    console.print("measuring overload")
    with started("fused", release_id) as address:
        warm(address, users)
        capacity, overload = overloaded(address, users, K, MANY, int(rounds), length)
    rows += flooded_rows("fused", capacity, overload)
    plot(found)
    write("serve", "The endpoint under load", given, rows, ratios(found, overload) | stages, console)


def flooded_rows(endpoint: str, capacity: Measured, overload: dict[int, Overload]) -> list[dict[str, object]]:
    """The rows of an endpoint's capacity and of what came of arrivals beyond it."""
    floods = [
        {"endpoint": f"{endpoint}, wrk apart, {times}x overload", "clients": FLOODING, **shown(of.measured)}
        for times, of in overload.items()
    ]
    return [{"endpoint": f"{endpoint}, wrk apart", "clients": MANY, **shown(capacity)}, *floods]


def turns(addresses: dict[str, str], users: int, rounds: int, seconds: int) -> dict[str, dict[int, Measured]]:
    """Of each endpoint, by number of clients; one after the other in each round."""
    headers = {name: [f"Authorization: Bearer {key_of(name)}"] if name in KEYED[1:] else [] for name in addresses}
    for name, address in addresses.items():
        warm(address, users, headers[name])
    taken: dict[str, dict[int, list[Measured]]] = {name: {1: [], MANY: []} for name in addresses}
    for clients in (1, MANY):
        for _ in range(rounds):
            for name, address in addresses.items():
                taken[name][clients].append(load_with(address, users, K, clients, seconds, headers=headers[name]))
    return {name: {clients: together(all) for clients, all in by.items()} for name, by in taken.items()}


def beside_others(number: int) -> dict[str, str]:
    """Ports by which several HAProxies, and the replicas behind them, run on one machine."""
    own = ("HAPROXY_METRICS", "HAPROXY_STATS", "FALLBACK_PROXY_HTTP", "FALLBACK_PROXY_GRPC")
    ports = {name: free_port() for name in own}
    for protocol, first in {"HTTP": 30_000, "GRPC": 40_000}.items():
        begin = first + 2_000 * number
        ports |= {f"DIRECT_INGRESS_MIN_{protocol}": begin, f"DIRECT_INGRESS_MAX_{protocol}": begin + 1_000}
    return {f"RAY_SERVE_{name}_PORT": str(port) for name, port in ports.items()}


@cache
def key_of(name: str) -> str:
    """A new key for an endpoint that asks for keys; its file is made with it."""
    config = KeyConfig(rate="1000000/second" if name == "rate" else None)
    return KeyFile.of(f"{ROOT}/{name}.json").add(f"wrk-{time.time_ns()}", config)


def warm(address: str, users: int, headers: Sequence[str] = ()) -> None:
    load_with(address, users, K, 8, 3, headers=headers)
    check(address, headers)


def check(address: str, headers: Sequence[str]) -> None:
    """Raises AssertionError where the endpoint does not answer what is measured."""
    asked, shows = {"user_id": "u00101", "k": K}, dict(header.split(": ", 1) for header in headers)
    answer = httpx.post(f"{address}/v1/recommend", json=asked, headers=shows, timeout=60)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert len(answer.json()["items"]) == K


def released(items: int, users: int) -> str:
    """A release of a trained model on a synthetic catalogue, made once."""
    config = load([*OVERRIDES, f"data.source.num_items={items}", f"data.source.num_users={users}"])
    storage = Folder.of(config.storage.root)
    registry = ReleaseRegistry.of(storage)
    connect(ClusterConfig())
    release_id = publish(config.index, train(config, prepare(config.data, storage), storage), storage)
    registry.promote(release_id)
    ray.shutdown()
    return release_id


def started(name: str, release_id: str) -> AbstractContextManager[str]:
    port, log = free_port(), FOLDER / f"serve-{name}.log"
    if name in ("fused", EVENTLESS, "staged", *OWN, *KEYED):
        fixed = [
            f"serve.{d}.{m}_replicas=1"
            for d in ("ingress", "embedder", "retriever", "reranker")
            for m in ("min", "max")
        ]
        topology = "staged" if name == "staged" else "fused"
        own = [f"storage.root={ROOT}", f"serve={topology}", f"serve.port={port}", f"serve.num_candidates={CANDIDATES}"]
        environment = {USES_HAPROXY: "0"} if name == "own-proxy" else {}
        environment |= beside_others(KEYED.index(name)) if name in KEYED else {}
        if name == EVENTLESS:
            own += ["events=off", "events.decisions.share=0"]
            environment |= beside_others(1)
        if name in KEYED[1:]:
            own += ["auth=keys", f"auth.file={ROOT}/{name}.json"]
            environment |= {"USER_HASH_KEY": "a key of the benchmark", "TWOTOWER_KEY": key_of(name)}
        return server("serve.run", [*own, *fixed, "serve.timeout_ms=2000"], port, log, environment)
    module = f"tests.benchmarks.endpoints.{name}"
    return server(module, [ROOT, release_id, str(port), str(CANDIDATES)], port, log)


def stage_ms() -> dict[str, float]:
    """Mean milliseconds of each stage under the load so far, by the service's own metrics."""
    ray.init(address="auto", logging_level="ERROR")
    address = metrics_address()
    ray.shutdown()
    time.sleep(12)
    text = httpx.get(address).text
    totals: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        for part in ("sum", "count"):
            if line.startswith(f"ray_twotower_stage_ms_{part}{{"):
                stage = line.split('stage="')[1].split('"')[0]
                totals.setdefault(stage, {})[part] = float(line.split()[-1])
    return {f"fused_stage_ms_{stage}": t["sum"] / t["count"] for stage, t in totals.items()}


def shown(measured: Measured) -> dict[str, float]:
    values = asdict(measured)
    names = ("p50_ms", "p99_ms", "max_ms", "requests", "refused", "broken")
    return {"requests_per_s": measured.per_s, "good_per_s": measured.good_per_s} | {n: values[n] for n in names}


def facts(items: str, seconds: int, rounds: int) -> dict[str, object]:
    return {
        "items": int(items),
        "dimension": 64,
        "candidates": CANDIDATES,
        "k": K,
        "seconds of each turn": seconds,
        "turns": rounds,
    }


def plot(found: dict[str, dict[int, Measured]]) -> None:
    """Latencies at 32 clients, by endpoint."""
    figure, axes = plt.subplots(figsize=(7, 4))
    places = np.arange(len(found))
    for offset, name in enumerate(("p50_ms", "p95_ms", "p99_ms")):
        axes.bar(places + 0.25 * (offset - 1), [getattr(m[MANY], name) for m in found.values()], 0.25, label=name[:3])
    axes.set_xticks(places, list(found))
    axes.set_ylabel(f"ms at {MANY} clients")
    axes.set_yscale("log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(FOLDER / "serve.png", dpi=120)


if __name__ == "__main__":
    refuse_without_wrk()
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
