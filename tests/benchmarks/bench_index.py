"""The replica index on a large catalogue: `python -m tests.benchmarks.bench_index [items=1000000] [queries=400]`.

Vectors are made up: 64 dimensions of falling variance, unit length, users as items; lists overlap, which is harder than
clusters apart. Latency of one search at a time in one thread, recall@100 of a request's 200 candidates against exact
search, without a filter and with filters that pass 1/20 and 1/1000 of the items, and what a second process adds to the
memory of the first. Writes var/bench/index.{md,json}.
"""

import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from rich.console import Console

from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import Filter, parse
from serve.filters.masks import FilterColumns
from serve.index.faiss_files import FaissIndexes, open_shared
from serve.index.faiss_library import faiss
from serve.index.replica_index import ReplicaIndex, SearchRequest
from tests.benchmarks.harness.tables import write

DIM, CANDIDATES, K = 64, 200, 100
FALLING = 0.7
"""The variance of dimension d is d to the power of minus twice this, before a random rotation."""
FEATURES = (Feature(name="group", kind=FeatureKind.numeric),)
FILTERS: dict[str, dict[str, Any] | None] = {
    "no filter": None,
    "1/20 pass": {"field": "group", "op": "<", "value": 0.05},
    "1/1000 pass": {"field": "group", "op": "<", "value": 0.001},
}


def main(items: int = 1_000_000, queries: int = 400) -> None:
    console = Console()
    faiss.omp_set_num_threads(1)
    queries_QD = made_up(queries, seed=1)
    groups_N = np.random.default_rng(2).random(items)
    with tempfile.TemporaryDirectory() as folder:
        console.print(f"indexing {items:,} x {DIM}")
        started = time.perf_counter()
        open_shared("bench", lambda: FaissIndexes.of(made_up(items, seed=0), exact_up_to=0), folder)
        made_s = time.perf_counter() - started
        started = time.perf_counter()
        indexes = open_shared("bench", lambda: sys.exit("it is there"), folder)
        mapped_s = time.perf_counter() - started
        columns = FilterColumns(pa.table({"group": groups_N}), FEATURES)
        index = ReplicaIndex("bench", indexes, columns)
        rows = [measured(name, index, filter, queries_QD) for name, filter in FILTERS.items()]
        one_mib, second_mib = memory_mib(folder)
    plain = rows[0]["p50_ms"]
    assert indexes.inverted is not None
    ratios = {
        "p50_ms": plain,
        "p99_ms": rows[0]["p99_ms"],
        "recall_at_100": min(row["recall@100"] for row in rows),
        "ratio_1_in_20": rows[1]["p50_ms"] / plain,
        "ratio_1_in_1000": rows[2]["p50_ms"] / plain,
        "made_s": made_s,
        "mapped_s": mapped_s,
        "first_process_mib": one_mib,
        "second_process_mib": second_mib,
    }
    facts = {
        "items": items,
        "dim": DIM,
        "lists": indexes.inverted.nlist,
        "looked into": indexes.inverted.nprobe,
        "queries": queries,
    }
    write("index", "The replica index", facts, rows, ratios, console)


def made_up(count: int, seed: int) -> np.ndarray:
    """float32 [count, DIM] of unit length, all of one distribution."""
    turn_DD = np.random.default_rng(99).standard_normal((DIM, DIM)).astype(np.float32)
    scale_D = np.arange(1, DIM + 1, dtype=np.float32) ** -FALLING
    found = np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32) * scale_D @ turn_DD
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def measured(name: str, index: ReplicaIndex, filter: dict[str, Any] | None, queries_QD: np.ndarray) -> dict[str, Any]:
    """One filter's row; the filter's mask is kept from the first search on, as in a replica."""
    condition: Filter | None = None if filter is None else parse(filter, FEATURES)
    started = time.perf_counter()
    index.selectivity(condition)
    first_ms = 1000 * (time.perf_counter() - started)
    taken_ms, recalls = [], []
    for query_D in queries_QD:
        request = SearchRequest.of(query_D, CANDIDATES, condition, None)
        started = time.perf_counter()
        (found,) = index.search_all([request])
        taken_ms.append(1000 * (time.perf_counter() - started))
        exact = index.search_exact_one(request)
        assert len(found.rows) == len(exact.rows), "complete"
        recalls.append(len(np.intersect1d(found.rows[:K], exact.rows[:K])) / min(K, len(exact.rows)))
    p50, p99 = np.percentile(taken_ms, (50, 99))
    return {
        "search": name,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "recall@100": float(np.mean(recalls)),
        "mask_ms": first_ms,
    }


MAP = """
import sys
import numpy as np
from serve.index.faiss_files import open_shared
indexes = open_shared("bench", sys.exit, sys.argv[1])
for index in (indexes.exact, indexes.inverted):
    index.search(np.ones((20, index.d), np.float32), 10)
indexes.inverted.nprobe = indexes.inverted.nlist
indexes.inverted.search(np.ones((1, indexes.inverted.d), np.float32), 10)
print("ready", flush=True)
sys.stdin.read()
"""
"""Touches every page."""


def memory_mib(folder: str) -> tuple[float, float]:
    """Of two more processes that hold the same files: all memory of the first, and what the second has to itself."""
    command = [sys.executable, "-c", MAP, folder]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        found = [psutil.Process(process.pid).memory_full_info() for process in processes]
    finally:
        for process in processes:
            process.communicate()
    return found[0].rss / 2**20, found[1].uss / 2**20


if __name__ == "__main__":
    main(**{name: int(value) for name, value in (argument.split("=", 1) for argument in sys.argv[1:])})
