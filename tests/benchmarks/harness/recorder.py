"""Asks an endpoint at a constant rate and records every answer, in a process of its own, until it is told to stop:
`python -m tests.benchmarks.harness.recorder ADDRESS USERS.json PER_S RECORD.jsonl`.
"""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import cycle
from pathlib import Path

from tests.benchmarks.harness.history import Asked

CLIENTS = 8
TIMEOUT_S = 30


@contextmanager
def recorded(address: str, users: Sequence[str], per_s: float, k: int, folder: Path) -> Iterator[list[Asked]]:
    """Requests as long as the block lasts; what was recorded is in the list after it."""
    names, record = folder / "users.json", folder / "record.jsonl"
    names.write_text(json.dumps(list(users)))
    arguments = [address, str(names), str(per_s), str(k), str(record)]
    process = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.harness.recorder", *arguments])
    asked: list[Asked] = []
    try:
        yield asked
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(2 * TIMEOUT_S)
    for line in record.read_text().splitlines():
        value = json.loads(line)
        asked.append(Asked(**value | {"items": None if value["items"] is None else tuple(value["items"])}))


class Client(threading.Thread):
    """One connection that asks for one user after the other, each at its time; a late one is asked at once."""

    def __init__(self, address: str, users: Sequence[str], every_s: float, k: int, stop: threading.Event) -> None:
        super().__init__()
        self._host = address.removeprefix("http://")
        self._users, self._every_s, self._k, self._stop_asking = users, every_s, k, stop
        self.asked: list[Asked] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)
        due = time.monotonic()
        for user in cycle(self._users):
            if self._stop_asking.wait(max(due - time.monotonic(), 0)):
                break
            due = max(due + self._every_s, time.monotonic() - 1)
            self.asked.append(self._ask(connection, user))
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, user: str) -> Asked:
        body = json.dumps({"user_id": user, "k": self._k})
        began = time.monotonic()
        try:
            connection.request("POST", "/v1/recommend", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            return Asked(user, began, time.monotonic(), problem=f"{type(e).__name__}: {e}")
        ended = time.monotonic()
        if response.status != http.client.OK:
            return Asked(user, began, ended, problem=f"{response.status}: {content[:200]!r}")
        answer = json.loads(content)
        items = tuple(item["id"] for item in answer["items"])
        return Asked(user, began, ended, answer["release_id"], items, answer["degraded"])


def main(address: str, users: str, per_s: str, k: str, record: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    names = json.loads(Path(users).read_text())
    every_s = CLIENTS / float(per_s)
    clients = [Client(address, names[at::CLIENTS], every_s, int(k), stop) for at in range(CLIENTS)]
    for number, client in enumerate(clients):
        client.start()
        time.sleep(every_s / CLIENTS if number else 0)
    for client in clients:
        client.join()
    with Path(record).open("w") as file:
        for client in clients:
            file.writelines(json.dumps(asdict(asked)) + "\n" for asked in client.asked)


if __name__ == "__main__":
    main(*sys.argv[1:])
