"""The whole stack in one command, `make demo`: from a log to an endpoint that answers requests.

Examples:
    python -m serve.demo
    python -m serve.demo data=gowalla demo.wait=false
"""

import os
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.cluster.console import wait_for_stop
from data.cluster.ray_compatibility.serve import runtime_env
from data.cluster.session import connect, metrics_addresses
from serve.access.exposure import check_access
from serve.api.connection import KEY, authorization
from serve.demonstration.headings import Headings
from serve.viewer.beside import page_beside
from towers.training.config import check_recipe

if TYPE_CHECKING:
    from conf.schema import Config
    from towers.checkpoint.checkpoint import Checkpoint


def task(config: "Config") -> dict[str, Any]:
    """Runs each step of the stack as its own command would, and returns release, answers and report as JSON."""
    check_access(config.auth, config.serve.host)
    if config.auth.asks and not os.environ.get(KEY):
        raise ConfigError(f"auth={config.auth.kind.value}: the demo asks its endpoint; put a key of yours into {KEY}")
    try:
        authorization(None)
    except ValueError as e:
        raise ConfigError(f"{e}") from e
    heading = Headings()
    heading(f"starting Ray; the log: {config.data.name}")
    check_recipe(config)
    connect(config.cluster, runtime_env(config.serve.ingress.in_flight, config.serve.ports))

    from serve.demonstration.live_release import fit_checkpoint, release  # takes seconds: mistakes are told before
    from serve.deployment.endpoint import check_place

    check_place(config.serve)  # before a release is promoted, which an endpoint that has the port may follow
    checkpoint = fit_checkpoint(config, heading)
    release_id = release(config, heading, checkpoint)
    heading("starting Ray Serve")
    return {"release": release_id} | _serve(config, heading, checkpoint)


def _serve(config: "Config", heading: Headings, checkpoint: "Checkpoint") -> dict[str, Any]:
    """Starts the endpoint and asks it; serves until Ctrl-C if `demo.wait` says so. Returns answers and report."""
    from serve.client import RecommendClient
    from serve.demonstration.examples import requests
    from serve.demonstration.requests import send_example_events, send_examples
    from serve.deployment.endpoint import compacting_logs, curl, running_endpoint
    from towers.evaluation.report import report_of

    with running_endpoint(config) as address, compacting_logs(config):
        user_id = next(body["user_id"] for body in requests(checkpoint, 1).values())
        events = {}
        with RecommendClient(address) as client:
            heading("asking for recommendations")
            answers = send_examples(client, checkpoint, config.demo.k)
            if config.events.is_on:
                heading("posting three events of the known user, and asking again")
                events = {"events": send_example_events(client, user_id, config.demo.k, config.events)}
        seconds = heading.seconds
        print(f"\nDone in {seconds:.0f} s. The endpoint is {address} (documentation: {address}/docs). Try:\n")
        print(f"  {curl(address, config.auth.asks, user_id)}\n", flush=True)
        if config.demo.wait:
            states = config.events.on_this_machine()
            further: dict[str, Any] = {
                "serve.num_candidates": config.serve.num_candidates,
                "plugins": config.plugins,
                **{f"events.{name}": getattr(states, name) for name in ("store", "path", "uri", "cluster")},
            }
            with page_beside(config.page, address, config.storage.root, metrics_addresses(), further) as said:
                print(f"Look at the answers: {said}\nServing until Ctrl-C.", flush=True)
                wait_for_stop()
    report = report_of(checkpoint.manifest).as_json()
    return {"address": address, "seconds": seconds, "answers": answers, **events, **report}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.demo")
