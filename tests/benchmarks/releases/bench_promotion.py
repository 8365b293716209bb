"""The tail of an endpoint's latency while large releases are promoted:
`python -m tests.benchmarks.releases.bench_promotion [items=1000000] [users=200000] [seconds=10] [rounds=5]
[promotions=3]`.

Three releases of random weights (tests/benchmarks/releases/made.py), of which a replica holds two, so that each
promotion loads one that it does not hold. One replica of the fused topology with `index=replica`, whose clients ask
again as soon as they have their answer: first in peace, then while one release after the other is promoted. What is
compared is the median over the rounds of their 99th percentile, and the worst. Writes var/bench/promotion.{md,json}.
"""

import sys
import threading
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.two_phase import roll_out
from tests.benchmarks.harness.servers import free_port, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, refuse_without_wrk, together
from tests.benchmarks.harness.wrk import load as load_with
from tests.benchmarks.releases.made import made_release

ROOT = "var/bench-promotion"
K, CLIENTS, NUM_RELEASES, WITHIN_S = 20, 8, 3, 1800.0
BAR = 2.0
"""The 99th percentile during promotions is at most so many times that before."""


def main(
    items: str = "1000000", users: str = "200000", seconds: str = "10", rounds: str = "5", promotions: str = "3"
) -> None:
    console, root = Console(), f"{ROOT}-{items}-{users}"
    config = load(overrides(root))
    releases = [made_release(config, int(items), int(users), seed) for seed in range(NUM_RELEASES)]
    registry = ReleaseRegistry.of(Folder.of(root))
    registry.promote(releases[0])
    port, log = free_port(), FOLDER / "promotion.log"
    own = [*overrides(root), f"serve.port={port}"]
    with server("serve.run", own, port, log, within_s=WITHIN_S) as address:
        before = [asked(address, int(users), int(seconds)) for _ in range(int(rounds) + 1)][1:]
        during, took_s = while_promoting(registry, releases, int(promotions), address, int(users), int(seconds))
    found = {"before": before, "during": during}
    for name, measured in found.items():
        console.print(name, [round(m.p99_ms, 1) for m in measured])
    worst_ms = max(m.p99_ms for m in during)
    calm, busy = together(before), together(during)
    ratios = {
        "p99_ratio": busy.p99_ms / calm.p99_ms,
        "worst_p99_ratio": worst_ms / calm.p99_ms,
        "p50_ratio": busy.p50_ms / calm.p50_ms,
        "promotion_s": sum(took_s) / len(took_s),
        "bar": BAR,
    }
    facts = {"items": int(items), "users": int(users), "clients": CLIENTS, "promotions": len(took_s)}
    write("promotion", "Promotions of large releases", facts, [row(*pair) for pair in found.items()], ratios, console)


def overrides(root: str) -> list[str]:
    one = [f"serve.ingress.{name}_replicas=1" for name in ("min", "max")]
    return [
        f"storage.root={root}", f"index.uri={root}/milvus.db", f"index.folder={Path(root).absolute()}/faiss",
        "index.timeout_s=600", "tracking=off", "guard.enabled=false", "events.store=off", "serve.timeout_ms=2000", *one,
    ]  # fmt: skip


def asked(address: str, users: int, seconds: int) -> Measured:
    return load_with(address, users, K, CLIENTS, seconds)


def while_promoting(
    registry: ReleaseRegistry, releases: Sequence[str], promotions: int, address: str, users: int, seconds: int
) -> tuple[list[Measured], list[float]]:
    """The rounds that lie between the begin of the first promotion and the end of the last; how long each took."""
    took_s: list[float] = []

    def promote() -> None:
        for release_id in islice(cycle([*releases[1:], releases[0]]), promotions):
            began = time.monotonic()
            roll_out(registry, release_id, WITHIN_S, lambda _: None)
            took_s.append(time.monotonic() - began)

    thread, measured = threading.Thread(target=promote), []
    thread.start()
    while thread.is_alive():
        measured.append(asked(address, users, seconds))
    return measured, took_s


def row(name: str, measured: Sequence[Measured]) -> dict[str, object]:
    whole = together(measured)
    return {
        "": name,
        "rounds": len(measured),
        "requests_per_s": whole.per_s,
        "p50_ms": whole.p50_ms,
        "p99_ms": whole.p99_ms,
        "worst_p99_ms": max(m.p99_ms for m in measured),
        "max_ms": whole.max_ms,
        "refused": whole.refused,
        "broken": whole.broken,
    }


if __name__ == "__main__":
    refuse_without_wrk()
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
