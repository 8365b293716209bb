"""Events beside what a team writes by hand, in one run on one machine:
`python -m tests.benchmarks.events.bench_events [seconds=5] [rounds=3] [items=20000] [asked=300] [events=100000]
[kills=20] [only=embedded,redis,throughput,kills]`.

- Events accepted in a second, in requests of 20 by 8 clients, by an endpoint with one replica, beside one process of
  FastAPI with the same write to the same store. Both are up at the same time and take turns.
- The time from an event to an answer without its item, beside four clients that ask as fast as they are answered.
- Recommendations in a second by 32 clients: with the state of users, with the decision log, with both, and with
  neither, up at the same time and in turns, which begin with another one each time; the median of the turns' ratios
  counts, since the speed of a machine changes from one to the next. The state of each user has as many events as are
  kept at most. Decisions are written every second, ten times as often as by default, so that a turn pays for its own.
- Events that are lost or doubled in the event log across SIGKILLs of those that accept and of the one that compacts.

Embedded, and on Redis where that is installed (`apt-get install redis-server`), durable with each command. Writes
var/bench/events.{md,json}; with `only`, some parts alone are measured, and added to what was measured before.
"""

import json
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console

from conf.schema import load
from data.sources.event_log.users import user_key
from serve.events.event import Event
from serve.events.sqlite_store import SqliteStore
from serve.events.state import EMPTY
from tests.benchmarks.bench_serve import MANY, K, beside_others, released, shown
from tests.benchmarks.events.killed import kill_again_and_again
from tests.benchmarks.events.load import BATCH, asked_meanwhile, event_to_answer_ms, send
from tests.benchmarks.harness.one_replica import one_replica
from tests.benchmarks.harness.servers import free_port, server
from tests.benchmarks.harness.tables import FOLDER, write
from tests.benchmarks.harness.wrk import Measured, refuse_without_wrk, together
from tests.benchmarks.harness.wrk import load as load_with
from tests.conformance.redis_server import serving_redis

ASKING = 4
"""Clients that ask while the time from an event to an answer is taken."""

PARTS = ["embedded", "redis", "throughput", "kills"]

NO_REQUESTS: dict[str, object] = {"what": "no requests"}

NO_LOG = "events.decisions.share=0"
OFTEN, WRITTEN_S = "events.decisions.every_s=1", 1.5
"""Decisions are written every second; the seconds after a turn within which its last ones are."""


def main(
    seconds: str = "5",
    rounds: str = "3",
    items: str = "20000",
    asked: str = "300",
    events: str = "100000",
    kills: str = "20",
    only: str = "",
) -> None:
    length, users = int(seconds), int(items) // 2
    wanted = only.split(",") if only else PARTS
    refuse_without_wrk()
    if wanted != ["kills"]:
        released(int(items), users)
    facts: dict[str, object] = {"items": items, "seconds": length, "rounds": rounds}
    ratios: dict[str, float] = {}
    rows: list[dict[str, object]] = []
    if only and (FOLDER / "events.json").exists():
        facts, ratios, rows = earlier(facts)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for store, overrides in stores_in(Path(folder), stack).items():
            if store in wanted:
                found, took_ms = with_events(store, overrides, users, int(items), int(rounds), length, int(asked))
                p50, p99 = np.percentile(took_ms, [50, 99]).tolist()
                accepts = found["endpoint"].good_per_s / found["bare"].good_per_s
                ratios |= {f"event_to_answer_p50_ms_{store}": p50, f"event_to_answer_p99_ms_{store}": p99}
                ratios |= {f"accept_ratio_{store}": accepts}
                rows += [{"what": f"{store}: {n}, requests of {BATCH} events", **shown(m)} for n, m in found.items()]
            if "kills" in wanted:
                root, suffix = Path(folder, f"killed-{store}"), "" if store == "embedded" else f"_{store}"
                own = (
                    [f"events.path={folder}/killed"]
                    if store == "embedded"
                    else [o.replace("/0", "/1") for o in overrides]
                )
                counted = kill_again_and_again(load(own).events, root, int(events), int(kills))
                facts |= {f"{name}{suffix}": value for name, value in counted.items()}
        if "throughput" in wanted:
            turns = throughput(Path(folder), users, int(items), int(rounds), length)
            rows += [{"what": f"recommendations: {name}", **shown(together(taken))} for name, taken in turns.items()]
            off = np.array([turn.good_per_s for turn in turns.pop("neither")])
            names = {"state": "throughput_ratio"}
            for name, taken in turns.items():
                of_turns = np.array([turn.good_per_s for turn in taken]) / off
                ratios[names.get(name, f"{name}_throughput_ratio")] = float(np.median(of_turns))
    latest = {row["what"]: row for row in rows}  # a part that was measured before is measured anew
    write("events", "Events", facts, list(latest.values()) or [NO_REQUESTS], ratios, Console())


def earlier(facts: dict[str, object]) -> tuple[dict[str, object], dict[str, float], list[dict[str, object]]]:
    """Facts, ratios and rows of the runs of other parts before, which this run adds to."""
    found = json.loads((FOLDER / "events.json").read_text())
    rows = [row for row in found.pop("rows") if row != NO_REQUESTS]
    ratios = {name: value for name, value in found.items() if isinstance(value, float)}
    return {name: value for name, value in found.items() if name not in ratios} | facts, ratios, rows


def stores_in(folder: Path, stack: ExitStack) -> dict[str, list[str]]:
    """By name, the overrides of each store that there is."""
    stores = {"embedded": [f"events.path={folder}/events.sqlite"]}
    if shutil.which("redis-server"):
        (folder / "redis").mkdir()
        stores["redis"] = ["events=redis", f"events.uri={stack.enter_context(serving_redis(folder / 'redis'))}/0"]
    return stores


def with_events(
    store: str, overrides: list[str], users: int, items: int, rounds: int, seconds: int, asked: int
) -> tuple[dict[str, Measured], list[float]]:
    """Requests with events that the endpoint and the bare handler take, in turns; and milliseconds to answers."""
    port = free_port()
    bare = [" ".join(overrides), str(port)]
    with one_replica(f"events-{store}", overrides) as address:
        with server("tests.benchmarks.endpoints.bare_events", bare, port, FOLDER / f"events-bare-{store}.log") as other:
            taken: dict[str, list[Measured]] = {"endpoint": [], "bare": []}
            for turn in range(rounds + 1):
                for name, at in (("endpoint", address), ("bare", other)):
                    taken[name].append(send(at, users, items, seconds if turn else 1))
        load_with(address, users, K, ASKING, 2)
        with httpx.Client(base_url=address, timeout=30) as client, asked_meanwhile(address, users, K, ASKING):
            took_ms = [event_to_answer_ms(client, f"u{number:05}") for number in range(1, asked + 1)]
    return {name: together(turns[1:]) for name, turns in taken.items()}, took_ms


def with_full_states(path: Path, users: int, items: int) -> None:
    """Writes a state for each user, with as many events as are kept at most."""
    config, draw = load([f"events.path={path}"]).events, np.random.default_rng(0)
    now_us, states = time.time_ns() // 1000, []
    for number in range(1, users + 1):
        user, drawn = f"u{number:05}", draw.integers(1, items, config.history).tolist()
        events = [
            Event(event_id="", user_id=user, item_id=f"i{item:05}", type="click", time_us=now_us - n)
            for n, item in enumerate(drawn)
        ]
        state = EMPTY.with_events([(event, now_us) for event in events], config)
        states.append((user_key(user), state.encode().decode()))
    SqliteStore(config).num_waiting()  # creates the tables
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO users VALUES (?, ?)", states)


def throughput(folder: Path, users: int, items: int, rounds: int, seconds: int) -> dict[str, list[Measured]]:
    """Recommendations with the state of users and the decision log, with either, and with neither: turn by turn."""
    state = f"events.path={folder}/full.sqlite"
    with_full_states(folder / "full.sqlite", users, items)
    variants = {
        "neither": ["events=off", NO_LOG],
        "state": [state, NO_LOG],
        "decisions": ["events=off", OFTEN],
        "both": [state, OFTEN],
    }
    taken: dict[str, list[Measured]] = {name: [] for name in variants}
    with ExitStack() as stack:
        addresses = {
            name: stack.enter_context(one_replica(f"events-throughput-{name}", values, beside_others(number)))
            for number, (name, values) in enumerate(variants.items())
        }
        for turn in range(rounds + 1):
            first = turn % len(addresses)  # each is the first of a turn once
            for name in [*addresses][first:] + [*addresses][:first]:
                taken[name].append(load_with(addresses[name], users, K, MANY, seconds if turn else 3))
                time.sleep(WRITTEN_S)
    return {name: turns[1:] for name, turns in taken.items()}


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
