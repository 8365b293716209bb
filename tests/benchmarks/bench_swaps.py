"""Promotions and rollbacks under constant load, in both topologies, judged from a record of all requests:
`python -m tests.benchmarks.bench_swaps [swaps=500] [per_s=100] [topologies=fused,staged]`.

Three releases of the same items and users, trained with other seeds, so that no two of them answer a user alike; what
each answers is computed beforehand by serve.recommend. One after the other is promoted and rolled back: a promotion
loads a release that no replica holds. Writes var/bench/swaps.{md,json,png}.
"""

import json
import sys
import time
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import ray
from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from serve.batch.config import RecommendConfig
from serve.batch.recommendations import recommend
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from serve.rollout.two_phase import roll_back, roll_out
from tests.benchmarks.harness.history import Asked, Change, Expected, first_p99_ratio, judge
from tests.benchmarks.harness.overload import memory
from tests.benchmarks.harness.recorder import recorded
from tests.benchmarks.harness.servers import free_port, server, used_by
from tests.benchmarks.harness.tables import FOLDER, write
from towers.training.fit import train

ROOT = "var/bench-swaps"
K, USERS, SCORES_APART = 10, 400, 1e-5
QUIET_S, BETWEEN_S, WITHIN_S = 15.0, 1.0, 60.0
"""Under load before the first change, between two changes, and what a promotion may take."""

OVERRIDES = (
    f"storage.root={ROOT}",
    f"index.uri={ROOT}/milvus.db",
    "tracking=off",
    "data.source.num_users=2000",
    "data.source.num_items=2000",
    "data.source.num_clusters=50",
    "data.source.interactions_per_user=20",
    "model.embedding_dim=32",
    "train.epochs=3",
    "rerank.max_queries=1000",
)
ONE = (
    f"serve.{d}.{name}"
    for d in ("ingress", "embedder", "retriever", "reranker")
    for name in ("min_replicas=1", "max_replicas=1", "num_cpus=0.1")
)
SERVING = (*used_by("serve.run", OVERRIDES), "serve.timeout_ms=2000", "serve.poll_s=0.1", "serve.lease_s=2", *ONE)


def main(swaps: int = 500, per_s: int = 100, topologies: str = "fused,staged") -> None:
    console = Console()
    releases, expected = released()
    users = told_apart(expected)
    console.print(f"{len(users)} users whom no two of {len(releases)} releases answer alike")
    found: dict[str, dict[str, Any]] = {}
    for topology in topologies.split(","):
        registry = ReleaseRegistry.of(Folder.of(ROOT))
        first = registry.promote(releases[0]).release
        port = free_port()
        own = (*SERVING, f"serve={topology}", f"serve.port={port}")
        with (
            server("serve.run", own, port, FOLDER / f"swaps-{topology}.log") as address,
            recorded(address, users, per_s, K, FOLDER) as asked,
        ):
            time.sleep(QUIET_S)
            changes, memory_mib = swapped(registry, releases, swaps, console)
            time.sleep(BETWEEN_S)
        found[topology] = measured(asked, changes, first, expected, console) | growth(memory_mib)
        plot(topology, changes)
    facts = {"releases": len(releases), "users": len(users), "requests_per_s": per_s, "items": 2000}
    rows = [{"": name} | {topology: of[name] for topology, of in found.items()} for name in next(iter(found.values()))]
    ratios = {f"{topology}_{name}": value for topology, of in found.items() for name, value in of.items()}
    write("swaps", "Promotions and rollbacks under load", facts, rows, ratios, console)


def released(k: int = K) -> tuple[list[str], Expected]:
    """The releases, and the `k` items that each answers each user for whom no two items have nearly the same score.

    Which of two such items comes first depends on who is scored in the same batch, by the last bits of sums.
    """
    storage = Folder.of(ROOT)
    releases, expected = [], {}
    connect(ClusterConfig())
    for seed in range(3):
        config = load([*OVERRIDES, f"seed={seed}"])
        releases.append(publish(config.index, train(config, prepare(config.data, storage), storage), storage))
        folder = recommend(RecommendConfig(k=k), releases[-1], config.serve.num_candidates, storage)
        rows = folder.read_table("part-00000.parquet").to_pylist()
        expected[releases[-1]] = {
            row["user_id"]: tuple(row["item_ids"])
            for row in rows
            if row["source"] == "towers" and np.diff(row["scores"]).max() < -SCORES_APART
        }
    ray.shutdown()
    return releases, expected


def told_apart(expected: Expected) -> list[str]:
    """Users whose answers differ from release to release."""
    answers = list(expected.values())
    known = set.intersection(*(set(of) for of in answers))
    return [user for user in sorted(known) if len({of[user] for of in answers}) == len(answers)][:USERS]


def swapped(
    registry: ReleaseRegistry, releases: list[str], swaps: int, console: Console
) -> tuple[list[Change], list[float]]:
    """Promotes one of the others and rolls it back, again and again; also the replicas' MiB after each change."""
    changes: list[Change] = []
    memory_mib: list[float] = []
    others = cycle(releases[1:])
    started = time.monotonic()
    while len(changes) < swaps:
        called = time.monotonic()
        if len(changes) % 2 == 0:
            kind, live = "promote", roll_out(registry, next(others), WITHIN_S, lambda _: None).live
        else:
            kind, live = "rollback", roll_back(registry, 2).live
        changes.append(Change(kind, called, time.monotonic(), live.release))
        if len(changes) % 50 == 0:
            console.print(f"{len(changes)} of {swaps} changes, {time.monotonic() - started:.0f} s")
        time.sleep(BETWEEN_S)
        memory_mib.append(memory())
    return changes, memory_mib


def growth(memory_mib: list[float]) -> dict[str, float]:
    """The memory of the last fifth of the changes beside that of the second fifth: the first ones fill caches."""
    fifth = max(len(memory_mib) // 5, 1)
    before, after = (float(np.median(part)) for part in (memory_mib[fifth : 2 * fifth], memory_mib[-fifth:]))
    return {"memory_mib": after, "memory_ratio": after / before}


def measured(
    asked: list[Asked], changes: list[Change], first: str, expected: Expected, console: Console
) -> dict[str, Any]:
    """What is judged and what was timed, of one topology."""
    verdict = judge(asked, changes, first, expected)
    for example in verdict.examples:
        console.print(f"[red]{example}")
    took = {kind: [c.returned - c.called for c in changes if c.kind == kind] for kind in ("promote", "rollback")}
    return {
        "swaps": len(changes),
        "requests": verdict.requests,
        "failed": verdict.failed,
        "mixed": verdict.mixed,
        "stale": verdict.stale,
        "degraded": verdict.degraded,
        "promote_s_p50": float(np.median(took["promote"])),
        "rollback_s_p50": float(np.median(took["rollback"])),
        "rollback_s_max": max(took["rollback"]),
        "first100_p99_ratio": first_p99_ratio(asked, changes),
        **percentiles(asked, changes),
    }


def percentiles(asked: list[Asked], changes: list[Change]) -> dict[str, float]:
    """Milliseconds before the first change, and from then on."""
    found = {}
    for name, before in (("quiet", True), ("changing", False)):
        ms = [1000 * (a.ended - a.began) for a in asked if (a.began < changes[0].called) == before]
        found |= {f"{name}_p{p}_ms": float(np.percentile(ms, p)) for p in (50, 99)}
    return found


def plot(topology: str, changes: list[Change]) -> None:
    figure, axes = plt.subplots(figsize=(7, 3))
    for kind in ("promote", "rollback"):
        axes.hist([c.returned - c.called for c in changes if c.kind == kind], bins=40, alpha=0.6, label=kind)
    axes.set_xlabel(f"seconds until every replica answers by it ({topology})")
    axes.set_ylabel("changes")
    axes.legend()
    figure.tight_layout()
    figure.savefig(FOLDER / f"swaps-{topology}.png", dpi=120)


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(**{name: json.loads(value) if value.isdigit() else value for name, value in arguments.items()})
