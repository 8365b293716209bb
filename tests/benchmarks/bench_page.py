"""The page beside an endpoint: search in a million items, first paint, and the throughput that an open page leaves:
`python -m tests.benchmarks.bench_page [items=1000000] [asked=300] [served=20000] [rounds=3] [seconds=10]`.

The search is the page's own (`serve.viewer.reading.text_search`), over titles of four words, called as the page calls
it: in a thread. Queries are prefixes of ids, words, parts of words, several words, and words that no item has.

The rest is measured beside an endpoint of one replica with `served` items, on the same machine. First paint is that of
the answers' view in Chromium, without a cache. Throughput is measured by wrk with 16 clients, in rounds: without the
page, then with a browser on its live view, which polls every second, ten times as often as by default. The browser
gives way to others (niceness 19), as it is on another machine in earnest; the page does not. Where wrk or Chromium is
missing, this is left out, and with rounds=0. Writes var/bench/page.{md,json}.
"""

import asyncio
import sys
import time
from statistics import median

import numpy as np
import pyarrow as pa
from rich.console import Console

from serve.viewer.reading.text_search import TextSearch
from tests.benchmarks.harness.page.load import missing, page_load
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


def main(
    items: str = "1000000", asked: str = "300", served: str = "20000", rounds: str = "3", seconds: str = "10"
) -> None:
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
    why_not = missing() if int(rounds) else "rounds=0"
    if why_not:
        print(f"first paint and throughput are left out: {why_not}", file=sys.stderr)
    else:
        found = page_load(int(served), int(rounds), int(seconds))
        ratios |= {
            "first_paint_ms": median(found.paint_ms),
            "first_paint_slowest_ms": max(found.paint_ms),
            "throughput_ratio": median(found.beside) / median(found.alone),
            "throughput_alone_spread": (max(found.alone) - min(found.alone)) / median(found.alone),
        }
        rows += [
            {"what": "first paint, median", "value": median(found.paint_ms), "unit": "ms"},
            {"what": "the answer for a user is shown, median", "value": median(found.answer_ms), "unit": "ms"},
            {"what": "endpoint alone, median", "value": median(found.alone), "unit": "requests/s"},
            {"what": "endpoint with the page open, median", "value": median(found.beside), "unit": "requests/s"},
        ]
    facts = {"items": num_items, "queries": len(took), "served": served, "rounds": rounds, "seconds": seconds,
             "bar": f"search p95 {BAR_MS:g} ms"}  # fmt: skip
    write("page", "The page beside an endpoint", facts, rows, ratios, Console())


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
