"""Events of an endpoint under measurement: batches by wrk, and the time from an event to an answer that knows it."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.benchmarks.harness import wrk

SCRIPT = Path(__file__).with_name("events.lua")

BATCH, SENDERS = 20, 8
"""Events in a request, and clients that send them, each as soon as the batch before is answered."""

WITHIN_S = 30.0
"""Seconds after which an answer must have changed."""


def send(address: str, users: int, items: int, seconds: int) -> wrk.Measured:
    """Batches of new events of random users by `SENDERS` clients."""
    arguments = [uuid.uuid4().hex, users, items, BATCH]
    return wrk.run(wrk.command(SCRIPT, address, SENDERS, seconds, arguments))


@contextmanager
def asked_meanwhile(address: str, users: int, k: int, clients: int) -> Iterator[None]:
    """Clients ask for recommendations as fast as they are answered, as long as the block lasts."""
    process = subprocess.Popen(wrk.command(wrk.SCRIPT, address, clients, 600, [users, k]), stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield
        assert process.poll() is None, "the load has ended before the measurement"
    finally:
        process.terminate()
        process.wait()


def event_to_answer_ms(client: httpx.Client, user: str) -> float:
    """Milliseconds from sending an event to having an answer without its item, which was the first one before.

    Degraded answers do not count, neither before nor after: another list could come from a fallback.
    """
    ends, first = time.monotonic() + WITHIN_S, _first(client, user)
    while first is None and time.monotonic() < ends:
        first = _first(client, user)
    assert first is not None, f"{user} is answered by fallbacks alone"
    event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": first, "type": "purchase"}
    started = time.perf_counter()
    client.post("/v1/events", json={"events": [event]}).raise_for_status()
    while _first(client, user) in (first, None):
        assert time.monotonic() < ends, f"{user} is still offered {first}"
    return 1000 * (time.perf_counter() - started)


def _first(client: httpx.Client, user: str) -> str | None:
    """The first item of the user's answer; None where it is degraded."""
    answer = client.post("/v1/recommend", json={"user_id": user, "k": 1}).raise_for_status().json()
    return None if answer["degraded"] else answer["items"][0]["id"]
