"""What one replica takes, and how well the capacity formula foretells it for a catalogue that it has not seen:
`python -m tests.benchmarks.operations.bench_capacity [seen=20000-10000,20000-30000,50000-10000] [unseen=100000-50000]
[seconds=4] [rounds=5]`.

Each catalogue (items-users) is served by one replica of an endpoint of its own. All are up at the same time and take
turns, since a machine's speed changes from minute to minute; medians of the turns count. Under a closed loop the CPU
time of replica and of HAProxy is divided by the requests; memory is the replica's own (unique set size); then arrivals
come at a tenth and at larger shares of what it can do.

The values of `capacity.measured` follow from those that are seen, by least squares and medians, and searches from two
sizes of index by themselves. They are held against the unseen catalogue: CPU time, memory, and the rate at which the
99th percentile reaches TARGET_MS. Writes var/bench/capacity.{md,json}, whose `measured` is for conf/capacity.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from serve.filters.masks import FilterColumns
from serve.index.faiss_files import FaissIndexes
from serve.index.faiss_library import faiss
from serve.index.replica_index import ReplicaIndex, SearchRequest
from serve.operations.sizing.config import CapacityConfig, Measured
from serve.operations.sizing.plan import MIB, most_busy, replica_mib, request_ms, search_ms, shared_mib
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.bench_index import FEATURES, made_up
from tests.benchmarks.bench_serve import OVERRIDES
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import refuse_without_wrk
from tests.benchmarks.operations.turns import ROOT, TARGET_MS, Turn, started, take, taken
from towers.training.fit import train

CANDIDATES = 200
EXACT_UP_TO = 50_000
SEARCHED = (20_000, 80_000)
"""Numbers of items whose searches are timed by themselves."""
RECIPE = OVERRIDES[1:]  # without the storage


def main(
    seen: str = "20000-10000,20000-30000,50000-10000",
    unseen: str = "100000-50000",
    seconds: str = "4",
    rounds: str = "5",
) -> None:
    refuse_without_wrk()
    console = Console()
    with ExitStack() as stack:
        sizes = [(int(items), int(users)) for items, users in (s.split("-") for s in (*seen.split(","), unseen))]
        for items, users in sizes:
            released(ROOT.format(items, users), items, users)
        endpoints = [stack.enter_context(started(*size, number)) for number, size in enumerate(sizes)]
        turns: list[list[Turn]] = [[] for _ in endpoints]
        for number in range(int(rounds)):
            console.print(f"turn {number + 1} of {rounds}")
            for endpoint, of in zip(endpoints, turns, strict=True):
                of.append(take(endpoint, int(seconds)))
        rows = [taken(endpoint, of) for endpoint, of in zip(endpoints, turns, strict=True)]
    measured = fitted(rows[:-1], searches())
    expected = foretold(measured, rows[-1])
    errors = {f"{name}_error": value / rows[-1][name] - 1 for name, value in expected.items()}
    console.print(measured)
    rows.append({**dict.fromkeys(rows[-1], None), **expected, "what": "foretold"})
    worst = max(abs(error) for error in errors.values())
    facts = {"seen": seen, "unseen": unseen, "target_ms": TARGET_MS}
    write("capacity", "What one replica takes", facts, rows, {**errors, "worst_error": worst}, console)
    path = FOLDER / "capacity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "measured": asdict(measured)}, indent=2) + "\n")


def released(root: str, items: int, users: int) -> None:
    """Publishes and promotes a release of this size, unless that was done before."""
    if (Path(root) / "releases" / "live.json").exists():
        return
    size = (f"storage.root={root}", f"data.source.num_items={items}", f"data.source.num_users={users}")
    config = load([*RECIPE, *size])
    storage = Folder.of(root)
    connect(ClusterConfig(dashboard=False))
    release_id = publish(config.index, train(config, prepare(config.data, storage), storage), storage)
    ReleaseRegistry.of(storage).promote(release_id)
    ray.shutdown()


def fitted(taken: Sequence[dict[str, Any]], measured: Measured) -> Measured:
    """The same with what follows from the endpoints that were measured."""

    def usual(name: str) -> float:
        """The median of a time without its searches."""
        return median(each[name] - search_ms(measured, each["items"], EXACT_UP_TO) for each in taken)

    longer = [
        (p99_ms / each["unloaded_p99_ms"] - 1) * (1 - busy) / busy
        for each in taken
        for busy, p99_ms in zip(each["busy"][1:], each["p99_ms"][1:], strict=True)
        if busy < 1
    ]
    own_mib = [each["replica_mib"] - each["items"] * index_bytes(measured, each["items"]) / MIB for each in taken]
    sizes = np.array([(1, each["items"] / MIB, each["users"] / MIB) for each in taken])
    replica_mib, item_bytes, user_bytes = np.linalg.lstsq(sizes, np.array(own_mib), rcond=None)[0]
    return replace(
        measured,
        request_cpu_ms=usual("request_cpu_ms"),
        proxy_cpu_ms=median(each["proxy_cpu_ms"] for each in taken),
        unloaded_p99_ms=usual("unloaded_p99_ms"),
        waiting=max(median(longer), 0.01),
        replica_mib=float(replica_mib),
        item_bytes=max(float(item_bytes), 0.0),
        user_bytes=max(float(user_bytes), 0.0),
    )


def index_bytes(measured: Measured, items: int) -> float:
    """Bytes of the index for each item, which a replica that is alone on its node does not share."""
    return measured.vector_bytes + (measured.inverted_bytes if items > EXACT_UP_TO else 0)


def searches() -> Measured:
    """What searches take, exact and of an inverted file, by two sizes of each."""
    few, many = SEARCHED
    exact, inverted = ([searched_ms(items, exact_up_to) for items in SEARCHED] for exact_up_to in (max(SEARCHED), 0))
    item_ms = (exact[1] - exact[0]) / (many - few)
    root_ms = max(inverted[1] - inverted[0], 0.0) / (math.sqrt(many) - math.sqrt(few))
    further_ms = inverted[0] - root_ms * math.sqrt(few) - (exact[0] - item_ms * few)
    return replace(
        Measured(),
        item_cpu_ns=1e6 * item_ms,
        inverted_root_us=1000 * root_ms,
        inverted_cpu_ms=max(further_ms, 0.0),
    )


def searched_ms(items: int, exact_up_to: int, times: int = 200) -> float:
    """CPU milliseconds of one search among so many made-up items."""
    faiss.omp_set_num_threads(1)
    columns = FilterColumns(pa.table({"group": np.zeros(items)}), FEATURES)
    index = ReplicaIndex("bench", FaissIndexes.of(made_up(items, seed=0), exact_up_to), columns)
    requests = [SearchRequest.of(query_D, CANDIDATES, None, None) for query_D in made_up(times, seed=1)]
    index.search_all(requests[:1])
    began = time.process_time()
    for request in requests:
        index.search_all([request])
    return 1000 * (time.process_time() - began) / times


def foretold(measured: Measured, unseen: dict[str, Any]) -> dict[str, float]:
    """What the formula says of a replica with one release, alone on its node."""
    asked = CapacityConfig(
        items=unseen["items"], users=unseen["users"], releases=1, p99_ms=TARGET_MS, measured=measured
    )
    cpu_ms = request_ms(measured, asked.items, EXACT_UP_TO)
    return {
        "request_cpu_ms": cpu_ms,
        "replica_mib": replica_mib(asked, EXACT_UP_TO) + shared_mib(asked, EXACT_UP_TO),
        "rate_at_target": 1000 * most_busy(asked, EXACT_UP_TO) / cpu_ms,
    }


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
