"""An endpoint under load while things break: `python -m tests.chaos.run [seconds=840] [soak_s=0] [seed=0] [per_s=50]`.

The staged topology on a Milvus of its own serves three releases of the same users and items, no two of which answer
alike. Faults (tests/chaos/faults), drawn by seed, come one after the other, while operators (operators.py beside it)
promote, roll back, start canaries and recall items. All requests are recorded, and judged afterwards
(tests/chaos/verdict.py). Then follow `soak_s` seconds of load with operators and without faults, in which the replicas'
memory is measured. Writes var/bench/chaos.{md,json}; ends with 1 if anything is amiss: a request that failed and was
not lost with a process, a mixed or a late answer, a recalled item, a recovery that takes long, or memory that grows.

Memory pressure and storage that is full or read-only need root; what cannot be produced is left out, and named in the
result. With `clock=1`, on a machine with no other work, the machine's clock jumps by two minutes. A killed raylet takes
all of one machine with it: it is a drill of `make bench-cluster` (tests/benchmarks/operations), where there are several
nodes.
"""

import sys
import time
from collections import Counter
from contextlib import ExitStack
from random import Random

import httpx
import psutil
from ray import serve
from rich.console import Console

from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from serve.deployment.declared import SCALES
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.bench_swaps import SERVING, released, told_apart
from tests.benchmarks.harness.recorder import recorded
from tests.benchmarks.harness.servers import free_port, replicas, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.chaos.faults import FAULTS, possible
from tests.chaos.making import made
from tests.chaos.operators import Operators
from tests.chaos.verdict import History, amiss, judge, slope_mib_per_min
from tests.chaos.world import World

K, SLACK, DEADLINE_MS = 10, 30, 1000
LASTS_S, RECOVERS_S, HEALTHY = (2.0, 8.0), 60.0, 20
"""How long a fault lasts, how long its traces may, and how many whole answers in a row are a healthy endpoint's."""

CONNECTS_FOR_S = 1.0
"""A proxy is back that takes each connection for so many seconds: at first it shares them with its successor."""

REPLICAS = {"Recommender": 2, "UserEmbedder": 1, "Retriever": 1, "Reranker": 2}

SETTLE_S = 10.0
SAMPLED_EVERY_S = 2.0


def main(seconds: int = 840, soak_s: int = 0, seed: int = 0, per_s: int = 50, faults: str = "", clock: int = 0) -> bool:
    console, random = Console(), Random(seed)
    releases, expected = released(K + SLACK)
    users = told_apart(expected)
    with ExitStack() as stack:
        world = stack.enter_context(made(random, sets_clock=bool(clock)))
        registry, port = ReleaseRegistry.of(Folder.of(str(world.storage))), free_port()
        registry.promote(releases[0])
        log, prefix = FOLDER / "chaos.log", world.memory.prefix if world.memory else ()
        address = stack.enter_context(server("serve.run", serving(world, port), port, log, prefix=prefix))
        if seconds:  # faults ask Ray Serve which replicas run
            connect(ClusterConfig(address="auto"))
        asked = stack.enter_context(recorded(address, users, per_s, K, FOLDER))
        time.sleep(SETTLE_S)
        items = sorted({item for of in expected.values() for answer in of.values() for item in answer[:3]})
        with Operators(registry, releases, items, random) as operators:
            chosen = [name for name in possible(world) if not faults or name in faults.split(",")]
            drawn, recovered_s, proxy_back = broken(world, address, users[0], chosen, seconds, console)
            times_s, mib = sampled(soak_s, process_of(port))
    history = History(asked, world.kills, operators.recalls, proxy_back, DEADLINE_MS / 1000, expected, K)
    verdict = judge(history)
    for example in [*verdict.examples, *operators.refused[:10]]:
        console.print(example)
    slope = slope_mib_per_min(times_s, mib)
    counts = {
        name: getattr(verdict, name) for name in ("requests", "failed", "lost", "mixed", "late", "recalled", "degraded")
    }
    ratios = {
        "faults": sum(drawn.values()),
        **counts,
        "late_ms_max": verdict.late_ms_max,
        "recovered_s_max": max(recovered_s, default=0.0),
        "slope_mib_per_min": slope,
    }
    rows = [{"": name, "times": times} for name, times in sorted((drawn + Counter(operators.done)).items())]
    facts = {"seed": seed, "seconds": seconds, "soak_s": soak_s, "requests_per_s": per_s, "deadline_ms": DEADLINE_MS}
    facts |= {"left_out": ", ".join(sorted(set(FAULTS) - set(chosen))), "operators_refused": len(operators.refused)}
    write("chaos", "An endpoint among faults", facts, rows, ratios, console)
    wrong = amiss(verdict, max(recovered_s, default=0.0), slope, is_soak=soak_s > 0)
    console.print(f"amiss: {'; '.join(wrong)}" if wrong else "nothing is amiss")
    return not wrong


def serving(world: World, port: int) -> tuple[str, ...]:
    """The overrides of the endpoint: staged, two replicas of what takes longest, Milvus by the world's proxy."""
    return (
        *SERVING,
        "serve=staged",
        *(f"serve.{SCALES[name]}.{b}_replicas={count}" for name, count in REPLICAS.items() for b in ("min", "max")),
        "index=milvus",
        "guard.enabled=false",  # operators and faults are drawn; the guard would end canaries of its own
        f"storage.root={world.storage}",
        f"index.uri=http://127.0.0.1:{world.milvus.port}",
        f"serve.timeout_ms={DEADLINE_MS}",
        f"serve.port={port}",
    )


def broken(
    world: World, address: str, user: str, names: list[str], seconds: float, console: Console
) -> tuple[Counter[str], list[float], list[float]]:
    """One fault after the other, each time until all is healthy again.

    Returns:
        How often each fault was there; the seconds from the end of each until all was healthy; and when the endpoint
        answered again, for each kill of the proxy.
    """
    drawn: Counter[str] = Counter()
    recovered_s, proxy_back = [], []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        name = world.random.choice(names)
        drawn[name] += 1
        with FAULTS[name](world):
            ended = time.monotonic()
            if name == "kill_proxy":
                proxy_back.append(_connected_since(address))
            elif not name.startswith("kill_"):
                time.sleep(world.random.uniform(*LASTS_S))
                ended = time.monotonic()
        took_s = _until_healthy(address, user, ended)
        recovered_s.append(took_s)
        console.print(f"{name}: healthy after {took_s:.1f} s")
    return drawn, recovered_s, proxy_back


def _connected_since(address: str) -> float:
    """Waits for a proxy that takes connections and knows replicas; returns since when it has taken each."""
    ends = time.monotonic() + RECOVERS_S
    since = float("inf")
    while (now := time.monotonic()) < min(ends, since + CONNECTS_FOR_S):
        try:
            takes = httpx.get(f"{address}/healthz", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            takes = False
        since = min(since, now) if takes else float("inf")
        time.sleep(0.05)
    return min(since, now)


def _until_healthy(address: str, user: str, ended: float) -> float:
    """Seconds from the end of a fault until all replicas run, and a number of answers in a row lack nothing.

    A kill has ended when it has happened. At most `RECOVERS_S` are waited for.
    """
    in_a_row, healthy_at = 0, ended
    while in_a_row < HEALTHY and time.monotonic() - ended < RECOVERS_S:
        try:
            answer = httpx.post(f"{address}/v1/recommend", json={"user_id": user, "k": K}, timeout=5)
            is_whole = answer.status_code == httpx.codes.OK and not answer.json()["degraded"]
        except httpx.TransportError:
            is_whole = False
        is_whole = is_whole and _all_run()
        if in_a_row == 0 and is_whole:
            healthy_at = time.monotonic()
        in_a_row = in_a_row + 1 if is_whole else 0
        time.sleep(0.02)
    return healthy_at - ended if in_a_row == HEALTHY else RECOVERS_S


def _all_run() -> bool:
    """Whether each deployment has its replicas, by their processes and by what Ray Serve knows of them."""
    if any(len(replicas(name)) < count for name, count in REPLICAS.items()):
        return False  # Ray Serve may not know yet
    deployments = serve.status().applications["recommender"].deployments
    return all(deployments[name].replica_states == {"RUNNING": count} for name, count in REPLICAS.items())


def process_of(port: int) -> psutil.Process:
    """The command that serves on a port."""
    with_commands = ((p, p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
    return next(p for p, command in with_commands if "serve.run" in command and f"serve.port={port}" in command)


def sampled(seconds: float, endpoint: psutil.Process) -> tuple[list[float], list[float]]:
    """The memory of all replicas of the endpoint together, in MiB, again and again."""
    times_s, mib = [], []
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        times_s.append(now)
        own = [replica for replica in replicas() if endpoint in replica.parents()]
        mib.append(sum(replica.memory_info().rss for replica in own) / 2**20)
        time.sleep(SAMPLED_EVERY_S)
    half = len(times_s) // 2  # a release that has just been loaded is not a leak: the slope is that of the second half
    return times_s[half:], mib[half:]


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    values = {name: int(value) if value.isdigit() else value for name, value in arguments.items()}
    sys.exit(0 if main(**values) else 1)  # type: ignore[arg-type]
