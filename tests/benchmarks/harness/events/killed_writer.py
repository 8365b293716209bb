"""A process that accepts events and compacts them, and is killed again and again; what it has said is what counts."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from serve.events.compaction import compact
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.protocol import Outcome
from serve.events.sqlite_store import SqliteStore

SIZE = 500
"""Events in one step."""

KEPT = (Outcome.accepted, Outcome.duplicate)
"""Outcomes that a sender takes for an answer."""


def events_of(number: int, now_us: int) -> list[Event]:
    """The events of a step, always the same."""
    return [
        Event(event_id=f"{number}-{n}", user_id=f"u{n % 50}", item_id=f"i{n}", type="click", time_us=now_us - n)
        for n in range(SIZE)
    ]


def work(config: EventsConfig, root: str, first: int, steps: int, now_us: int, said: Connection) -> None:
    """Takes steps, says each one that is accepted, and compacts after some."""
    store, storage = SqliteStore(config), Folder.of(root)
    for number in range(first, steps):
        outcomes = store.append(events_of(number, now_us))
        assert set(outcomes) <= set(KEPT)
        said.send(number)
        if number % 10 == 9:
            compact(config, store, storage)
    compact(config, store, storage)
    said.send(steps)


def kill_again_and_again(config: EventsConfig, root: Path, num_events: int, kills: int) -> dict[str, int]:
    """Accepts events across SIGKILLs; returns how many there were, and how many are lost or doubled in the log."""
    steps, now_us, done, killed = num_events // SIZE, time.time_ns() // 1000, 0, 0
    draw, context = random.Random(0), multiprocessing.get_context("spawn")
    while done < steps:
        reading, writing = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(config, str(root), done, steps, now_us, writing))
        child.start()
        writing.close()
        ends = done + draw.randint(1, max(3 * steps // (2 * kills), 2)) if killed < kills else steps + 1
        while child.is_alive() or reading.poll():
            try:
                done = reading.recv() + (0 if done == steps else 1)
            except EOFError:
                break
            if done >= ends and killed < kills and child.pid is not None:
                time.sleep(draw.random() * 0.02)
                os.kill(child.pid, signal.SIGKILL)
                killed += 1
                ends = steps + 2
        child.join()
        done = min(done, steps)
        if child.exitcode == 0:
            break
    found = pads.dataset(root / "events", partitioning="hive").to_table(columns=["event_id"])["event_id"].to_pylist()
    wanted = {f"{number}-{n}" for number in range(steps) for n in range(SIZE)}
    lost, doubled = len(wanted - set(found)), len(found) - len(set(found))
    return {"kills": killed, "accepted": len(wanted), "lost": lost, "doubled": doubled}
