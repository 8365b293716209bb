"""Starts the endpoint on the live release: `python -m serve.run`, `serve=staged` for stages scaled by themselves."""

import signal
import threading
from typing import TYPE_CHECKING, Any

from data.cluster.ray_compatibility import runtime_env
from data.cluster.session import connect
from serve.deployment.endpoint import curl, guarded, running

if TYPE_CHECKING:
    from conf.schema import Config


def wait_for_stop() -> None:
    """Blocks until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


def task(config: "Config") -> dict[str, Any]:
    """Entry point: serves until Ctrl-C."""
    connect(config.cluster, runtime_env(config.serve.ingress.in_flight))
    with running(config) as address, guarded(config):
        print(f"serve: ready. Try\n  {curl(address)}\nDocumentation: {address}/docs. Stop with Ctrl-C.", flush=True)
        wait_for_stop()
    return {"address": address}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.run")
