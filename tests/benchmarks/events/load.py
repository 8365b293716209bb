"""Events of an endpoint under measurement: batches by wrk, and the time from an event to an answer that knows it."""

import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from data.cluster.machine import wrk_command
from tests.benchmarks.harness import wrk

SCRIPT = Path(__file__).with_name("events.lua")

BATCH, SENDERS = 20, 8
"""Events in a request, and clients that send them, each as soon as the batch before is answered."""

WITHIN_S = 30.0
"""Seconds after which an answer must have changed."""


def send(address: str, users: int, items: int, seconds: int) -> wrk.Measured:
    """Batches of new events of random users by `SENDERS` clients."""
    command = [*wrk_command(""), "-t1", f"-c{SENDERS}", f"-d{seconds}s", "--timeout", "10s", "-s", SCRIPT, address]
    command += ["--", uuid.uuid4().hex, users, items, BATCH]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return wrk.Measured(**json.loads(found.stdout.strip().splitlines()[-1]))


@contextmanager
def asked_meanwhile(address: str, users: int, k: int, clients: int) -> Iterator[None]:
    """Clients ask for recommendations as fast as they are answered, as long as the block lasts."""
    command = [*wrk_command(""), "-t1", f"-c{clients}", "-d600s", "--timeout", "10s", "-s", wrk.SCRIPT, address, "--"]
    process = subprocess.Popen([str(part) for part in [*command, users, k]], stdout=subprocess.DEVNULL)
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
