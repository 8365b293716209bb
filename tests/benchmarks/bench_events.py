"""Events beside what a team writes by hand, in one run on one machine:
`python -m tests.benchmarks.bench_events [seconds=5] [rounds=3] [items=20000] [events=100000] [kills=20]`.

- The time from the first byte of an event to an answer without the item, beside load by four clients.
- Events accepted in a second, in requests of 20 by 8 clients, beside a FastAPI handler with the same write.
- Recommendations in a second by 32 clients with the state of users and the decision log, with either alone, and with
  neither; the states have events.
- Events that are lost or doubled in the event log across SIGKILLs, read by pyarrow alone.

Redis must be installed (`apt-get install redis-server`) for its part. Writes var/bench/events.{md,json}.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console

from conf.schema import load
from data.cluster.machine import wrk_command
from tests.benchmarks.bench_serve import MANY, ROOT, K, check, released
from tests.benchmarks.harness.events.killed_writer import kill_again_and_again
from tests.benchmarks.harness.servers import free_port, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, refuse_without_wrk, together
from tests.benchmarks.harness.wrk import load as load_with
from tests.conformance.redis_server import serving_redis

SCRIPT = Path(__file__).parent / "harness" / "events" / "events.lua"
BATCH, SENDERS, ASKED = 20, 8, 300
NO_LOG = "events.decisions.share=0"


def main(
    seconds: str = "5", rounds: str = "3", items: str = "20000", events: str = "100000", kills: str = "20"
) -> None:
    console, length, users = Console(), int(seconds), int(items) // 2
    refuse_without_wrk()
    released(int(items), users)
    ratios: dict[str, float] = {}
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stores = {"embedded": [f"events.path={folder}/events.sqlite"]}
        if shutil.which("redis-server"):
            redis = Path(folder, "redis")
            redis.mkdir()
            uri = stack.enter_context(serving_redis(redis, "--appendonly", "yes", "--appendfsync", "always"))
            stores["redis"] = ["events=redis", f"events.uri={uri}"]
        for store, overrides in stores.items():
            console.print(f"measuring {store}")
            found = accepted(store, overrides, users, int(items), int(rounds), length)
            ratios |= {f"accept_ratio_{store}": found["endpoint"].per_s / found["bare"].per_s}
            rows += [{"what": f"{store}: {name}, requests of {BATCH} events", **shown(m)} for name, m in found.items()]
            ratios |= event_to_answer(store, overrides, users)
        console.print("measuring throughput")
        found = throughput(stores["embedded"], users, int(rounds), length)
        rows += [{"what": f"recommendations: {name}", **shown(m)} for name, m in found.items()]
        ratios["throughput_ratio"] = found["state"].per_s / found["neither"].per_s
        ratios["decisions_throughput_ratio"] = found["decisions"].per_s / found["neither"].per_s
        ratios["both_throughput_ratio"] = found["both"].per_s / found["neither"].per_s
        console.print("killing")
        config = load([f"events.path={folder}/killed.sqlite"]).events
        counted = kill_again_and_again(config, Path(folder, "killed"), int(events), int(kills))
    ratios |= {name: float(counted[name]) for name in ("lost", "doubled")}
    facts = {"items": items, "seconds": length, "rounds": rounds, **counted}
    write("events", "Events", facts, rows, ratios, console)


@contextmanager
def endpoint(name: str, overrides: list[str]) -> Iterator[str]:
    port = free_port()
    fixed = [f"storage.root={ROOT}", f"serve.port={port}", "serve.timeout_ms=2000", "guard.enabled=false"]
    with server("serve.run", [*fixed, *overrides], port, FOLDER / f"events-{name}.log") as address:
        yield address


def accepted(
    store: str, overrides: list[str], users: int, items: int, rounds: int, seconds: int
) -> dict[str, Measured]:
    """Requests that the endpoint and a bare handler answer, in turns; each writes to the store."""
    port, taken = free_port(), {"endpoint": [], "bare": []}  # type: ignore[var-annotated]
    bare = [" ".join(overrides), str(port)]
    with (
        endpoint(f"accept-{store}", [*overrides, NO_LOG]) as address,
        server("tests.benchmarks.endpoints.bare_events", bare, port, FOLDER / f"events-bare-{store}.log") as other,
    ):
        check(address)
        for number in range(rounds + 1):
            for name, at in (("endpoint", address), ("bare", other)):
                taken[name].append(send(at, users, items, seconds if number else 1))
    return {name: together(all[1:]) for name, all in taken.items()}


def send(address: str, users: int, items: int, seconds: int) -> Measured:
    command = [*wrk_command(""), "-t1", f"-c{SENDERS}", f"-d{seconds}s", "--timeout", "10s", "-s", SCRIPT, address]
    command += ["--", uuid.uuid4().hex, users, items, BATCH]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return Measured(**json.loads(found.stdout.strip().splitlines()[-1]))


def event_to_answer(store: str, overrides: list[str], users: int) -> dict[str, float]:
    """Milliseconds from an event to the first answer without its item, beside four clients that ask."""
    with endpoint(f"answer-{store}", overrides) as address, httpx.Client(base_url=address, timeout=30) as client:
        check(address)
        load_with(address, users, K, 4, 2)
        load = subprocess.Popen([sys.executable, "-c", LOAD.format(address=address, users=users, k=K)])
        try:
            time.sleep(1)
            took_ms = [_until_changed(client, f"u{number:05}") for number in range(1, ASKED + 1)]
        finally:
            load.terminate()
            load.wait()
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {f"event_to_answer_p50_ms_{store}": float(p50), f"event_to_answer_p99_ms_{store}": float(p99)}


LOAD = """
from tests.benchmarks.harness.wrk import load
load("{address}", {users}, {k}, 4, 120)
"""


def _until_changed(client: httpx.Client, user: str) -> float:
    first = client.post("/v1/recommend", json={"user_id": user, "k": 1}).json()["items"][0]["id"]
    event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": first, "type": "purchase"}
    started = time.perf_counter()
    client.post("/v1/events", json={"events": [event]}).raise_for_status()
    while client.post("/v1/recommend", json={"user_id": user, "k": 1}).json()["items"][0]["id"] == first:
        pass
    return 1000 * (time.perf_counter() - started)


def throughput(overrides: list[str], users: int, rounds: int, seconds: int) -> dict[str, Measured]:
    """Recommendations with the state of users and the decision log, with either, and with neither, in turns."""
    variants = {
        "neither": ["events=off", NO_LOG],
        "state": [*overrides, NO_LOG],
        "decisions": ["events=off"],
        "both": overrides,
    }
    taken: dict[str, list[Measured]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, values in variants.items():  # one at a time: four would not have room beside each other
            with endpoint(f"throughput-{name}", values) as address:
                check(address)
                load_with(address, users, K, 8, 3)
                taken[name].append(load_with(address, users, K, MANY, seconds))
    return {name: together(all) for name, all in taken.items()}


def shown(measured: Measured) -> dict[str, float]:
    return {
        "requests_per_s": measured.per_s,
        "p50_ms": measured.p50_ms,
        "p99_ms": measured.p99_ms,
        "refused": measured.refused,
    }


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
