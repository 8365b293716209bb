"""Overload of an endpoint: arrivals at multiples of its capacity, and what comes through.

wrk keeps to the last core and yields to the endpoint there: asking and being refused costs the endpoint nothing.
"""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import numpy as np

from data.cluster.machine import stay_on_core
from tests.benchmarks.harness.servers import replicas
from tests.benchmarks.harness.wrk import Measured, together
from tests.benchmarks.harness.wrk import load as load_with

OVERLOADS = (2, 10)
"""Multiples of the capacity."""

FLOODING = 512
"""Connections that overload comes over."""

PACED = 1.3
"""Times as many arrivals are paced as are to come: a connection's next one waits for its answer, too."""

NUM_CORES = os.cpu_count() or 2

APART = {"cores": f"{NUM_CORES - 1}", "niceness": 10}
"""Where wrk runs while it overloads."""


@dataclass(frozen=True)
class Overload:
    """Arrivals at a multiple of the capacity.

    Attributes:
        goodput: over the capacity; the median of the turns, and their range.
        offered: arrivals over the capacity, the median.
        costs: the worst turn's.
    """

    measured: Measured
    goodput: float
    goodput_range: tuple[float, float]
    offered: float
    costs: dict[str, float]

    @classmethod
    def of(cls, turns: Sequence[tuple[Measured, dict[str, float], float]]) -> "Overload":
        """From (what wrk saw, costs, capacity at the time) of each turn."""
        ratios = [measured.good_per_s / capacity for measured, _, capacity in turns]
        offered = float(np.median([measured.per_s / capacity for measured, _, capacity in turns]))
        worst = {name: max(costs[name] for _, costs, _ in turns) for name in turns[0][1]}
        low_high = min(ratios), max(ratios)
        return cls(together([measured for measured, _, _ in turns]), float(np.median(ratios)), low_high, offered, worst)


def overloaded(
    address: str, users: int, k: int, clients: int, rounds: int, seconds: int
) -> tuple[Measured, dict[int, Overload]]:
    """The capacity, and what comes of its multiples: each flood is held against the capacity before and after it.

    A flood lasts for three of such times, as wrk does not count what is still on the way in the end.
    """
    capacities = [load_with(address, users, k, clients, 2 * seconds, **APART)]
    floods: dict[int, list[tuple[Measured, dict[str, float], float]]] = {times: [] for times in OVERLOADS}
    for _ in range(rounds):
        for times, of in floods.items():
            measured, costs = flooded(address, users, k, times, capacities[-1].per_s, 3 * seconds)
            capacities.append(load_with(address, users, k, clients, 2 * seconds, **APART))
            around = (capacities[-2].per_s + capacities[-1].per_s) / 2
            of.append((measured, costs, around))
    return together(capacities), {times: Overload.of(of) for times, of in floods.items()}


def flooded(
    address: str, users: int, k: int, times: int, capacity: float, seconds: int
) -> tuple[Measured, dict[str, float]]:
    """What comes through at a multiple of the capacity, and how a patient stranger fares meanwhile."""
    waits: dict[int, list[float]] = {}
    stop = threading.Event()

    def ask() -> None:
        stay_on_core(NUM_CORES - 1)  # what it costs is none of the endpoint's either
        with httpx.Client(base_url=address, timeout=10) as client:
            while not stop.wait(0.05):
                begun = time.perf_counter()
                answer = client.post("/v1/recommend", json={"user_id": "u00001", "k": k})
                assert answer.status_code in (200, 503), answer.text
                assert answer.status_code == 200 or "retry-after" in answer.headers
                waits.setdefault(answer.status_code, []).append(1000 * (time.perf_counter() - begun))

    before, stranger = memory(), threading.Thread(target=ask)
    stranger.start()
    measured = load_with(address, users, k, FLOODING, seconds, rate=PACED * times * capacity, **APART)
    stop.set()
    stranger.join()
    found = {"refusal_p99_ms": float(np.percentile(waits.get(503, [0.0]), 99)), "memory_growth_mib": memory() - before}
    return measured, found


def memory() -> float:
    """MiB held by the replicas."""
    return sum(replica.memory_info().rss for replica in replicas()) / 2**20
