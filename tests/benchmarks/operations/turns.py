"""Endpoints of one replica each that are measured in turns: CPU time of a request, memory, and percentiles by load."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import psutil

from serve.operations.sizing.plan import MIB
from tests.benchmarks.bench_serve import beside_others
from tests.benchmarks.harness.servers import free_port, replicas, server
from tests.benchmarks.harness.tables import FOLDER
from tests.benchmarks.harness.wrk import load as load_with

K, CLIENTS, PACED_CLIENTS = 20, 4, 32
SHARES = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)
"""Shares of a replica's capacity that arrive: hardly any for the unloaded percentile, then more."""
TARGET_MS = 100.0
"""The percentile that `serve.capacity` plans for by default. On two cores that four endpoints share, the one of hardly
any requests is 30 ms already, and the rate at which it reaches 40 ms is chance.
"""
ROOT = "var/bench-capacity/{}-{}"
"""The storage root of an endpoint by its numbers of items and of users."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of one replica that serves so many items and users.

    Attributes:
        replica: its process.
    """

    items: int
    users: int
    port: int
    replica: psutil.Process

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def proxies(self) -> list[psutil.Process]:
        """The HAProxy processes that listen at its port; a change of HAProxy's configuration replaces them."""
        return [p for p in psutil.process_iter(["name"]) if p.info["name"] == "haproxy" and _listens(p, self.port)]


class Turn(NamedTuple):
    """What one turn of an endpoint has shown.

    Attributes:
        requests_per_s: under a closed loop.
        paced_per_s, p99_ms: by share of SHARES, requests that were answered in a second, and their percentile.
    """

    request_cpu_ms: float
    proxy_cpu_ms: float
    requests_per_s: float
    paced_per_s: list[float]
    p99_ms: list[float]


@contextmanager
def started(items: int, users: int, number: int) -> Iterator[Endpoint]:
    """Starts the endpoint of a catalogue and warms it; it has ports of its own by its number."""
    root, port, others = ROOT.format(items, users), free_port(), set(replicas("Recommender"))
    own = (
        f"storage.root={root}", f"serve.port={port}", "serve.timeout_ms=2000", "serve.ingress.max_replicas=1",
        "serve.ingress.num_cpus=0.1", "guard.enabled=false",
    )  # fmt: skip
    with server("serve.run", own, port, FOLDER / f"capacity-{number}.log", beside_others(number)) as address:
        load_with(address, users, K, CLIENTS, 4)
        yield Endpoint(items, users, port, _replica_beside(others))


def _replica_beside(others: set[psutil.Process]) -> psutil.Process:
    """The replica that is not among the others, as soon as it has its title."""
    ends = time.monotonic() + 30
    while len(found := set(replicas("Recommender")) - others) != 1:
        if time.monotonic() > ends:
            titles = [title for p in psutil.process_iter(["cmdline"]) for title in (p.info["cmdline"] or [])[:1]]
            raise RuntimeError(f"no replica of its own: {[title for title in titles if title.startswith('ray::')]}")
        time.sleep(0.2)
    return found.pop()


def take(endpoint: Endpoint, seconds: int) -> Turn:
    """One turn: a closed loop, then arrivals by SHARES."""
    processes = [endpoint.replica, *endpoint.proxies()]
    before = [cpu_s(process) for process in processes]
    full = load_with(endpoint.address, endpoint.users, K, CLIENTS, seconds)
    replica_s, *of_proxies = (cpu_s(process) - then for process, then in zip(processes, before, strict=True))
    per_s = full.requests / replica_s
    paced = [
        load_with(endpoint.address, endpoint.users, K, PACED_CLIENTS, seconds, rate=share * per_s) for share in SHARES
    ]
    return Turn(
        1000 * replica_s / full.requests,
        1000 * sum(of_proxies) / full.requests,
        full.per_s,
        [each.per_s for each in paced],
        [each.p99_ms for each in paced],
    )


def taken(endpoint: Endpoint, turns: Sequence[Turn]) -> dict[str, Any]:
    """The medians of an endpoint's turns, and its memory."""
    request_cpu_ms, proxy_cpu_ms, per_s, paced_per_s, p99_ms = (
        np.median(np.array(of_turns), axis=0) for of_turns in zip(*turns, strict=True)
    )
    return {
        "what": "measured",
        "items": endpoint.items,
        "users": endpoint.users,
        "request_cpu_ms": float(request_cpu_ms),
        "proxy_cpu_ms": float(proxy_cpu_ms),
        "replica_mib": endpoint.replica.memory_full_info().uss / MIB,
        "requests_per_s": float(per_s),
        "unloaded_p99_ms": float(p99_ms[0]),
        "rate_at_target": rate_at(TARGET_MS, list(zip(paced_per_s.tolist(), p99_ms.tolist(), strict=True))),
        "busy": (paced_per_s * request_cpu_ms / 1000).tolist(),
        "p99_ms": p99_ms.tolist(),
    }


def rate_at(target_ms: float, paced: list[tuple[float, float]]) -> float:
    """The rate at which the percentile first reaches a target, between the rates that were measured or at an end."""
    for (slow, low), (fast, high) in zip(paced, paced[1:], strict=False):
        if low <= target_ms <= high:
            return slow + (fast - slow) * (target_ms - low) / (high - low)
    return paced[-1][0] if paced[-1][1] < target_ms else paced[0][0]


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _listens(process: psutil.Process, port: int) -> bool:
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections("tcp"))
