"""Processes that accept and compact events and are killed again and again; what they have said is what counts."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from serve.events.compaction import compact
from serve.events.config import EventsConfig
from serve.events.event import Event
from serve.events.protocol import Outcome, StoreUnavailable
from serve.events.stores import STATE_STORES

STEP = 50
"""Events that are accepted in one step."""

WRITERS = 2
"""Processes that accept events, as two replicas do. A third one compacts."""

TAKEN = (Outcome.accepted, Outcome.duplicate)
"""Outcomes that a sender takes for an answer."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


@dataclass(slots=True)
class Running:
    """A process that can be killed, and what it has said."""

    start: Callable[["Running"], BaseProcess]
    said: Connection | None = None
    process: BaseProcess | None = None
    steps: set[int] = field(default_factory=set)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.is_alive()


def ids_of(step: int) -> list[str]:
    """The ids of the events of a step."""
    return [f"{step}-{n}" for n in range(STEP)]


def write(config: EventsConfig, steps: list[int], now_us: int, said: Connection) -> None:
    """Accepts the events of the steps, and says each step when it is durable; a step always has the same events."""
    store = STATE_STORES[config.store](config)
    for step in steps:
        events = [
            Event(event_id=id_, user_id=f"u{n}", item_id=f"i{n}", type="click", time_us=now_us - n)
            for n, id_ in enumerate(ids_of(step))
        ]
        while True:
            with suppress(StoreUnavailable):  # as a sender does that is answered with 503, it sends them again
                assert set(store.append(events)) <= set(TAKEN)
                break
        said.send(step)


def compact_for_ever(config: EventsConfig, root: str) -> None:
    """Compacts again and again, as the endpoint's compactor does every few minutes."""
    store, storage = STATE_STORES[config.store](config), Folder.of(root)
    while True:
        with suppress(StoreUnavailable):
            compact(config, store, storage)
        time.sleep(0.05)


def kill_again_and_again(config: EventsConfig, root: Path, num_events: int, kills: int) -> dict[str, int]:
    """Accepts events by two processes while a third compacts them; one of the three is killed at random times.

    Where the writers are sooner done than all kills are, the rest of these meet the process that compacts.

    Returns:
        The number of SIGKILLs, of accepted events, and of those that are lost or doubled in the event log. The
        check reads what the processes have said to be accepted, and the log's files by pyarrow; nothing else.
    """
    now_us, draw, num_steps = time.time_ns() // 1000, random.Random(0), num_events // STEP
    shares = [list(range(first, num_steps, WRITERS)) for first in range(WRITERS)]

    def writer(share: list[int]) -> Callable[[Running], BaseProcess]:
        def start(running: Running) -> BaseProcess:
            running.said, said = CONTEXT.Pipe(duplex=False)
            left = [step for step in share if step not in running.steps]
            process = CONTEXT.Process(target=write, args=(config, left, now_us, said))
            process.start()
            said.close()
            return process

        return start

    def compactor(_: Running) -> BaseProcess:
        process = CONTEXT.Process(target=compact_for_ever, args=(config, str(root)))
        process.start()
        return process

    writers, compacting = [Running(writer(share)) for share in shares], Running(compactor)
    everyone, killed = [*writers, compacting], 0
    for running in everyone:
        running.process = running.start(running)
    while killed < kills or any(len(r.steps) < len(share) for r, share in zip(writers, shares, strict=True)):
        num_said = sum(len(running.steps) for running in writers)
        if killed < kills and num_said >= killed * num_steps // (kills + 1):
            time.sleep(draw.random() * 0.1)
            _kill(draw.choice([running for running in everyone if running.is_alive]))
            killed += 1
        _listen(writers)
        for running in writers:
            assert running.process is not None
            assert running.process.exitcode in (None, 0, -signal.SIGKILL), "a writer has ended by itself"
    for running in everyone:
        assert running.process is not None
        running.process.kill() if running is compacting else running.process.join()
    compact(config, STATE_STORES[config.store](config), Folder.of(str(root)))
    return {"kills": killed} | checked([step for running in writers for step in running.steps], root)


def checked(accepted_steps: list[int], root: Path) -> dict[str, int]:
    """Compares what was said to be accepted with the files of the event log."""
    accepted = {id_ for step in accepted_steps for id_ in ids_of(step)}
    found = pads.dataset(root / "events", partitioning="hive").to_table(columns=["event_id"])["event_id"].to_pylist()
    return {
        "accepted": len(accepted),
        "lost": len(accepted - set(found)),
        "doubled": len(found) - len(set(found)),
    }


def _kill(running: Running) -> None:
    """Kills a process, keeps what it has said before, and starts it again."""
    assert running.process is not None
    assert running.process.pid is not None
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.join()
    if running.said is not None:
        _hear(running)
    running.process = running.start(running)


def _listen(writers: list[Running]) -> None:
    """Waits for the next words of the writers."""
    ready = wait([running.said for running in writers if running.said is not None], 0.05)
    for running in writers:
        if running.said in ready:
            _hear(running)


def _hear(running: Running) -> None:
    """Notes all that a writer has said so far."""
    assert running.said is not None
    try:
        while running.said.poll():
            running.steps.add(running.said.recv())
    except (EOFError, OSError):  # it has ended, in the midst of a word or after one
        running.said.close()
        running.said = None
