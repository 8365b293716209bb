"""Endpoints under measurement, each a process of its own with a release to serve."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from conf.verbs import override_key, uses

START_S = 180


def used_by(module: str, own: Sequence[str]) -> list[str]:
    """Those of the overrides that a command uses; it refuses the others."""
    return [override for override in own if uses(module, override_key(override))]


@contextmanager
def server(
    module: str,
    arguments: Sequence[str],
    port: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    within_s: float = START_S,
    prefix: Sequence[str] = (),
) -> Iterator[str]:
    """`python -m module arguments`, from the moment that it answers /readyz; yields its address.

    Args:
        prefix: The start of the command, of a program that starts another.
        within_s: What it may take until then.

    Raises:
        RuntimeError: it ended, or was not ready in time; the end of its log says why.
    """
    command = [*prefix, sys.executable, "-m", module, *arguments]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address, log, within_s)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path, within_s: float) -> None:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"{' '.join(process.args)} did not come up:\n{log.read_text()[-2000:]}")  # type: ignore[arg-type]


def replicas(deployment: str = "") -> list[psutil.Process]:
    """The replicas of a deployment of the endpoint, or of all, on this machine.

    A replica that has answered already may have the title of its constructor still: `ray::SERVE_REPLICA::...:` and then
    the same name.
    """
    name = f"ServeReplica:recommender:{deployment}"
    titles = ((p, "".join((p.info["cmdline"] or [])[:1])) for p in psutil.process_iter(["cmdline"]))
    return [process for process, title in titles if title.startswith("ray::") and name in title]


@contextmanager
def asleep(deployment: str) -> Iterator[None]:
    """Its replicas answer nothing; they are not dead, and Ray Serve does not know yet."""
    sleeping = replicas(deployment)
    for replica in sleeping:
        replica.suspend()
    try:
        yield
    finally:
        for replica in sleeping:
            if replica.is_running():
                replica.resume()


def metrics_address() -> str:
    """Where Prometheus finds the metrics of the Ray that this process has joined; Ray exports every ten seconds."""
    import ray

    node = ray.nodes()[0]
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
