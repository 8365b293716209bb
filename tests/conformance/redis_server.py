"""A real Redis for tests: `apt-get install redis-server`."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.reporting.skipping import skip


@contextmanager
def serving_redis(folder: Path, *options: str, cluster: bool = False) -> Iterator[str]:
    """A Redis as long as the block lasts, durable unless the options say otherwise; yields its address."""
    if shutil.which("redis-server") is None:
        skip("there is no Redis server", "apt-get install redis-server, then the same again")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        port = port if port < 50_000 else port - 20_000  # the bus of a cluster is 10,000 above
    command = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", "", "--bind", "127.0.0.1"]
    command += options or ("--appendonly", "yes", "--appendfsync", "always")
    command += ["--cluster-enabled", "yes"] if cluster else []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    try:
        _wait(client)
        if cluster:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        client.close()
        process.terminate()
        process.wait(10)


def _wait(client: redis.Redis) -> None:
    for _ in range(200):
        try:
            client.ping()
            return
        except redis.RedisError:
            time.sleep(0.05)
    raise RuntimeError("Redis did not start")
