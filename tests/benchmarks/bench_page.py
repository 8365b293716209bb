"""The page beside an endpoint: search in a million items, and the endpoint's throughput with the page open, in one run:
`python -m tests.benchmarks.bench_page [items=1000000] [asked=300] [rounds=3] [seconds=10]`.

The search is the page's own (`serve.viewer.reading.text_search`), over titles of four words, called as the page calls
it: in a thread. Queries are prefixes of ids, words, parts of words, several words, and words that no item has.
Throughput is measured with wrk, in rounds: without the page, then with a browser on its live view, which polls. Where
wrk or Chromium is missing, that part is left out. rounds=0 leaves it out too. Writes var/bench/page.{md,json}.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from rich.console import Console

from serve.viewer.reading.text_search import TextSearch
from tests.benchmarks.harness.page_load import throughput
from tests.benchmarks.harness.tables import write

BAR_MS = 200.0
"""The most that the 95th percentile of a search may take."""

WORDS = [
    "amber", "silent", "river", "golden", "night", "ghost", "paper", "stone", "winter", "echo", "lantern",
    "harbour", "silver", "étoile", "island", "garden", "mirror", "thunder", "velvet", "compass", "orchard",
    "signal",
]  # fmt: skip


def catalogue(num_items: int, seed: int = 0) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """Ids, titles and interactions of made-up items."""
    rng = np.random.default_rng(seed)
    words = np.array(WORDS)[rng.integers(0, len(WORDS), (num_items, 3))]
    titles = np.char.add(np.char.add(np.char.add(words[:, 0], " "), np.char.add(words[:, 1], " ")), words[:, 2])
    numbered = np.char.add(np.char.add(titles, " "), rng.integers(0, 10_000, num_items).astype(str))
    ids = np.char.add("i", np.char.zfill(np.arange(num_items).astype(str), 8))
    return pa.array(ids.tolist()), pa.array(numbered.tolist()), rng.zipf(1.3, num_items).clip(max=10**6)


def queries(count: int, num_items: int, seed: int = 1) -> list[str]:
    """What people type, of each kind as many."""
    rng = np.random.default_rng(seed)
    kinds = (
        lambda: f"i{rng.integers(0, num_items):08d}"[: rng.integers(3, 10)],
        lambda: str(rng.choice(WORDS)),
        lambda: str(rng.choice(WORDS))[1:4],
        lambda: " ".join(rng.choice(WORDS, 2)),
        lambda: f"{rng.choice(WORDS)} {rng.integers(0, 10_000)}",
        lambda: "zq" + "".join(rng.choice(list("aeiou"), 3)),
    )
    return [kinds[number % len(kinds)]() for number in range(count)]


async def timed(search: TextSearch, asked: list[str]) -> np.ndarray:
    """Milliseconds of each search, in a thread, one after the other."""
    took = []
    for query in asked:
        started = time.perf_counter()
        await asyncio.to_thread(search.find, query, 20)
        took.append(1000 * (time.perf_counter() - started))
    return np.array(took)


def main(items: str = "1000000", asked: str = "300", rounds: str = "3", seconds: str = "10") -> None:
    num_items = int(items)
    ids, titles, weights = catalogue(num_items)
    started = time.perf_counter()
    search = TextSearch(ids, titles, weights)
    build_s = time.perf_counter() - started
    took = asyncio.run(timed(search, queries(int(asked), num_items)))
    p50, p95 = (float(p) for p in np.percentile(took, [50, 95]))
    ratios = {"search_p50_ms": p50, "search_p95_ms": p95, "search_within_bar": float(p95 <= BAR_MS)}
    rows: list[dict[str, object]] = [
        {"what": "building the search", "value": build_s, "unit": "s"},
        {"what": "search, p50", "value": p50, "unit": "ms"},
        {"what": "search, p95", "value": p95, "unit": "ms"},
        {"what": "search, slowest", "value": float(took.max()), "unit": "ms"},
    ]
    if int(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found = throughput(Path(folder), int(rounds), int(seconds))
        if isinstance(found, str):
            print(f"throughput is left out: {found}", file=sys.stderr)
        else:
            alone, beside = (median(values) for values in found)
            ratios["throughput_ratio"] = beside / alone
            rows += [
                {"what": "endpoint alone", "value": alone, "unit": "requests/s"},
                {"what": "endpoint with the page open", "value": beside, "unit": "requests/s"},
            ]
    facts = {"items": num_items, "queries": len(took), "rounds": int(rounds), "bar": f"search p95 {BAR_MS:g} ms"}
    write("page", "The page beside an endpoint", facts, rows, ratios, Console())


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
