"""Load by wrk (`apt-get install wrk`), which costs little itself."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from data.cluster.machine import MachineLacks, wrk_command

SCRIPT = Path(__file__).parent / "lua" / "requests.lua"


@dataclass(frozen=True, slots=True)
class Measured:
    """What wrk saw. `refused` are answers of status 400 and above, `broken` lost connections and time-outs."""

    seconds: float
    requests: int
    refused: int
    broken: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds

    @property
    def good_per_s(self) -> float:
        return (self.requests - self.refused) / self.seconds


def refuse_without_wrk() -> None:
    """Raises SystemExit with one line if wrk is not installed, before a benchmark has trained for minutes."""
    try:
        wrk_command()
    except MachineLacks as e:
        raise SystemExit(f"error: {e}") from None


def load(
    address: str,
    users: int,
    k: int,
    clients: int,
    seconds: int,
    rate: float = 0.0,
    cores: str = "",
    niceness: int = 0,
    deadline_ms: int = 2000,
    headers: Sequence[str] = (),
) -> Measured:
    """Requests of random users over `clients` connections.

    Args:
        rate: 0 is a closed loop: each client asks again as soon as it has its answer. Otherwise requests per second
            over all clients, as independent arrivals, as long as the clients are not all waiting.
        cores: where wrk runs, as taskset names them; empty is anywhere.
        niceness: of wrk.
        deadline_ms: that each request names.
        headers: further headers, such as "Connection: close", by which each request has a connection of its own.

    Raises:
        MachineLacks: wrk is not installed.
    """
    pause_ms = 1000 * clients / rate if rate else 0
    arguments = [users, k, pause_ms, deadline_ms, *headers]
    return run(["nice", "-n", str(niceness), *command(SCRIPT, address, clients, seconds, arguments, cores)])


def command(
    script: Path, address: str, clients: int, seconds: int, arguments: Sequence[object], cores: str = ""
) -> list[str]:
    """The command line of wrk: one thread, each client asks again as soon as it has its answer.

    Args:
        script: makes the requests, in Lua; it loads summary.lua.
        arguments: of the script.

    Raises:
        MachineLacks: wrk is not installed.
    """
    fixed = ["-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), address, "--"]
    return [*wrk_command(cores), *fixed, *map(str, arguments)]


def run(wrk: Sequence[str]) -> Measured:
    """Runs such a command to its end."""
    found = subprocess.run(wrk, capture_output=True, text=True, check=True)
    return Measured(**json.loads(found.stdout.strip().splitlines()[-1]))


def together(rounds: Sequence[Measured]) -> Measured:
    """Several rounds as one: what was counted is summed, of latencies the median counts, and the longest of all."""
    counts = {name: sum(getattr(m, name) for m in rounds) for name in ("seconds", "requests", "refused", "broken")}
    latencies = {name: median(getattr(m, name) for m in rounds) for name in ("p50_ms", "p95_ms", "p99_ms")}
    return Measured(**counts, **latencies, max_ms=max(m.max_ms for m in rounds))
