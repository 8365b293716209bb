"""Replicas that follow the load, and replicas that die or sleep under it, in two runs:
`python -m tests.benchmarks.bench_scale [seconds=40]`.

First `serve=fused` with one to three replicas: few clients, many, few again. How long it takes from the load of many to
the first answer of a new replica is read from HAProxy's counts. Then `serve=staged`, with two replicas of
each stage, of which a re-ranker, then the ingress is killed. wrk counts what was refused (503) and what was lost. Last,
both re-rankers sleep, and requests have a deadline. Writes var/bench/scale.{md,json,png}.
"""

import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import matplotlib.pyplot as plt
from rich.console import Console

from serve.operations.kubernetes.ray_cluster import HAPROXY_METRICS_PORT
from tests.benchmarks.bench_serve import ROOT, K, check, released
from tests.benchmarks.harness.servers import asleep, free_port, replicas, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, load, refuse_without_wrk

ITEMS, USERS = 100_000, 50_000
FEW, MANY = 1, 12
DEADLINE_MS = 100
SCALING = (
    "serve=fused", "serve.ingress.min_replicas=1", "serve.ingress.max_replicas=3", "serve.ingress.num_cpus=0.1",
    "serve.ingress.target_ongoing_requests=3", "serve.ingress.downscale_delay_s=10",
)  # fmt: skip
STAGED = (
    "serve=staged",
    *(f"serve.{d}.{m}_replicas=2" for d in ("ingress", "embedder", "retriever", "reranker") for m in ("min", "max")),
    *(f"serve.{d}.num_cpus=0.1" for d in ("ingress", "embedder", "retriever", "reranker")),
)


ANSWERS = re.compile(
    r'^haproxy_server_http_responses_total\{.*server="[^"]*Recommender[^"]*".*code="2xx".*\} (.+)$', re.M
)
"""HAProxy's count of the answers of a replica; it begins anew with each replica that comes or goes."""


def num_answering() -> int:
    """The number of replicas of the ingress that have answered a request; 0 where HAProxy does not say."""
    try:
        text = httpx.get(f"http://127.0.0.1:{HAPROXY_METRICS_PORT}/metrics", timeout=2).text
    except httpx.TransportError:
        return 0
    return sum(float(count) > 0 for count in ANSWERS.findall(text))


class Watch:
    """How many replicas of the ingress there are, and how many of them have answered, twice a second."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.counts: list[int] = []
        self.answering: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            self.seconds.append(time.perf_counter())
            self.counts.append(len(replicas("Recommender")))
            self.answering.append(num_answering())

    def first_answer_s(self, since: float) -> float:
        """Seconds from `since` until a second replica had answered; NaN where none has."""
        found = (when - since for when, number in zip(self.seconds, self.answering, strict=False) if number > 1)
        return next((seconds for seconds in found if seconds > 0), math.nan)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main(seconds: int = 40) -> None:
    console = Console()
    released(ITEMS, USERS)
    rows: list[dict[str, Any]] = []
    began: dict[str, float] = {}
    with endpoint(SCALING) as address, Watch() as watch:
        for name, clients, length in (("few", FEW, seconds // 2), ("many", MANY, seconds), ("few again", FEW, seconds)):
            console.print(f"{name}: {clients} clients for {length} s")
            began[name] = time.perf_counter()
            rows.append(row(f"fused, {name}", load(address, USERS, K, clients, length), len(replicas("Recommender"))))
            console.print(rows[-1])
    with endpoint(STAGED) as address:
        for victim in ("Reranker", "Recommender"):
            console.print(f"killing a {victim}")
            killing = threading.Timer(seconds / 4, lambda victim=victim: replicas(victim)[0].kill())
            killing.start()
            rows.append(
                row(f"staged, a {victim} killed", load(address, USERS, K, MANY, seconds), len(replicas(victim)))
            )
            killing.join()
            console.print(rows[-1])
        console.print("putting the re-rankers to sleep")
        with asleep("Reranker"):
            measured = load(address, USERS, K, FEW, seconds // 4, deadline_ms=DEADLINE_MS)
        rows.append(row(f"staged, re-rankers asleep, deadline {DEADLINE_MS} ms", measured, 0))
        console.print(rows[-1])
    counts = [row["replicas_after"] for row in rows]
    ratios = {
        "replicas_at_most": max(watch.counts),
        "replicas_at_the_end": counts[2],
        "load_to_first_answer_of_a_new_replica_s": watch.first_answer_s(began["many"]),
        "failed_while_scaling": failed(*rows[:3]),
        "failed_reranker_killed": failed(rows[3]),
        "failed_ingress_killed": failed(rows[4]),
        "failed_asleep": failed(rows[5]),
        "p99_past_deadline_ms": measured.p99_ms - DEADLINE_MS,
        "max_past_deadline_ms": measured.max_ms - DEADLINE_MS,
    }
    plot(watch)
    facts = {"items": ITEMS, "few": FEW, "many": MANY, "seconds": seconds}
    write("scale", "Load that rises and falls, replicas that die", facts, rows, ratios, console)


@contextmanager
def endpoint(overrides: tuple[str, ...]) -> Iterator[str]:
    port = free_port()
    own = (f"storage.root={ROOT}", f"serve.port={port}", "serve.timeout_ms=2000", *overrides)
    with server("serve.run", own, port, FOLDER / "scale.log") as address:
        load(address, USERS, K, 4, 3)
        check(address, ())
        yield address


def row(name: str, measured: Measured, num_replicas: int) -> dict[str, Any]:
    return {
        "run": name,
        "requests_per_s": measured.per_s,
        "p50_ms": measured.p50_ms,
        "p99_ms": measured.p99_ms,
        "requests": measured.requests,
        "refused": measured.refused,
        "broken": measured.broken,
        "replicas_after": num_replicas,
    }


def failed(*rows: dict[str, Any]) -> int:
    return sum(row["refused"] + row["broken"] for row in rows)


def plot(watch: Watch) -> None:
    figure, axes = plt.subplots(figsize=(7, 3))
    axes.step([seconds - watch.seconds[0] for seconds in watch.seconds], watch.counts, where="post")
    axes.set_xlabel("seconds")
    axes.set_ylabel("replicas of the ingress")
    axes.set_ylim(0)
    figure.tight_layout()
    figure.savefig(FOLDER / "scale.png", dpi=120)


if __name__ == "__main__":
    refuse_without_wrk()
    main(**{name: int(value) for name, value in (argument.split("=", 1) for argument in sys.argv[1:])})
