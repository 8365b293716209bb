"""How long commands take to start, beside the imports that all of them need, in one run:
`python -m tests.benchmarks.bench_start [rounds=10]`.

Each round starts every command once, one after the other, so that all see the same machine. The time is that of the
processor (user and system), the least of all rounds, which other processes on the machine hardly change; elapsed time
stands beside it. Writes var/bench/start.{md,json}.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from rich.console import Console

from conf.schema import FOLDER
from tests.benchmarks.harness.tables import write

IMPORTS = "import hydra, pyarrow"
"""What every command needs: Hydra reads its command line, and pyarrow its storage."""

MAX_RATIO = 3.0
"""The most that `serve.releases` and `--help` may take, as a multiple of IMPORTS."""

COMMANDS = {
    "releases": ("-m", "serve.releases"),
    "rollback": ("-m", "serve.rollback"),
    "rollback --help": ("-m", "serve.rollback", "--help"),
    "train --help": ("-m", "towers.train", "--help"),
    "demo --help": ("-m", "serve.demo", "--help"),
}


def main(rounds: str = "10") -> None:
    lines = {"imports": ("-c", IMPORTS), **COMMANDS}
    processor: dict[str, list[float]] = {name: [] for name in lines}
    elapsed: dict[str, list[float]] = {name: [] for name in lines}
    with tempfile.TemporaryDirectory() as folder:
        started(lines["imports"], folder)  # compiled, and in the page cache
        for _ in range(int(rounds)):
            for name, line in lines.items():
                used_s, elapsed_s = started(line, folder)
                processor[name].append(used_s)
                elapsed[name].append(elapsed_s)
    base_s = min(processor["imports"])
    rows = [
        {
            "command": f"python -c '{IMPORTS}'" if name == "imports" else name,
            "processor_s": min(processor[name]),
            "elapsed_s": min(elapsed[name]),
            "ratio": min(processor[name]) / base_s,
        }
        for name in lines
    ]
    ratios = {f"{name.replace(' --', '_')}_ratio": min(processor[name]) / base_s for name in COMMANDS}
    ratios["within_bar"] = float(all(ratio <= MAX_RATIO for ratio in ratios.values()))
    facts = {"rounds": int(rounds), "bar": f"at most {MAX_RATIO:g} times the imports"}
    write("start", "How long commands take to start", facts, rows, ratios, Console())


def started(line: Sequence[str], folder: str) -> tuple[float, float]:
    """Seconds of the processor, and elapsed, of one command in an empty folder."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, *line], cwd=folder, env=environment, capture_output=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - began


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
