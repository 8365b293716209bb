"""The whole stack in one command, `make demo`: from a log to an endpoint that answers requests.

Examples:
    python -m serve.demo
    python -m serve.demo data=gowalla demo.wait=false
"""

import os
import time
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.console import show, wait_for_stop
from data.cluster.ray_compatibility.serve import runtime_env
from data.cluster.session import connect, metrics_addresses
from serve.access.exposure import check_access
from serve.api.connection import KEY
from serve.releases.registry import ReleaseRegistry
from serve.rollout.promotion import promote
from serve.viewer.beside import page_beside
from towers.model.config import FittedSplits
from towers.training.config import check_recipe

if TYPE_CHECKING:
    from conf.schema import Config
    from towers.checkpoint.checkpoint import Checkpoint


class Steps:
    """Prints numbered headings with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._number = 0

    def __call__(self, heading: str) -> None:
        """Prints the next heading."""
        self._number += 1
        print(f"\n[{self._number}] {heading}  ({time.perf_counter() - self._started:.0f} s)", flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return round(time.perf_counter() - self._started, 1)


def ask(address: str, checkpoint: "Checkpoint", k: int) -> dict[str, Any]:
    """Sends the example requests to the endpoint, shows the answers as tables, and returns them as JSON values."""
    from serve.api.examples import answer_table, requests
    from serve.client import RecommendClient

    answers = {}
    with RecommendClient(address) as client:
        for title, body in requests(checkpoint, k).items():
            answer = client.recommend(**body)
            show(answer_table(title, answer))
            answers[title] = answer.model_dump(mode="json")
    return answers


def task(config: "Config") -> dict[str, Any]:
    """Runs each step of the stack as its own command would, and returns release, answers and report as JSON."""
    check_access(config.auth, config.serve.host)
    if config.auth.asks and not os.environ.get(KEY):
        raise ConfigError(f"auth={config.auth.kind.value}: the demo asks its endpoint; put a key of yours into {KEY}")
    step, storage = Steps(), Folder.of(config.storage.root)
    step(f"starting Ray; the log: {config.data.name}")
    check_recipe(config)
    connect(config.cluster, runtime_env(config.serve.ingress.in_flight))
    checkpoint = trained(config, step, storage)
    release_id = released(config, step, storage, checkpoint)
    step("starting Ray Serve")
    answered = serving(config, step, checkpoint)
    return {"release": release_id} | answered


def trained(config: "Config", step: Steps, storage: Folder) -> "Checkpoint":
    """Prepares the dataset, trains, evaluates, and fits on all interactions; returns the checkpoint."""
    from data.dataset.preparation import prepare
    from towers.evaluation.presentation.published import published_beside
    from towers.evaluation.presentation.tables import metrics_table
    from towers.evaluation.report import report_of
    from towers.training.fit import train, with_fit_on
    from towers.training.stages.measured_fit import has_validation

    step("preparing the dataset with Ray Data")
    dataset = prepare(config.data, storage)
    step("training both towers with Ray Train")
    checkpoint = train(config, dataset, storage)
    step("evaluation on the full catalogue, beside its baselines")
    published = published_beside(config.evaluate, dataset.manifest["counts"])
    show(metrics_table(report_of(checkpoint.manifest), checkpoint.name, published))
    if config.train.fit_on is FittedSplits.train and has_validation(config, dataset):
        step("the final fit, on every interaction with the epochs found (train.fit_on=all), and its backtest")
        checkpoint = train(with_fit_on(config, FittedSplits.all), dataset, storage)
        show(metrics_table(report_of(checkpoint.manifest), checkpoint.name, published))
    return checkpoint


def released(config: "Config", step: Steps, storage: Folder, checkpoint: "Checkpoint") -> str:
    """Publishes the checkpoint as a release and promotes it; returns the id of the release."""
    from serve.releases.gate.gate import Gatekeeper
    from serve.releases.publish import publish

    step("publishing item vectors to Milvus as a release")
    gatekeeper = Gatekeeper(config=config.gate, evaluate=config.evaluate, show=show)
    release_id = publish(config.index, checkpoint, storage, gatekeeper=gatekeeper)
    step("promoting the release")
    promote(config.index, ReleaseRegistry.of(storage), release_id, config.serve.ready_within_s)
    return release_id


def serving(config: "Config", step: Steps, checkpoint: "Checkpoint") -> dict[str, Any]:
    """Starts the endpoint and asks it; serves until Ctrl-C if `demo.wait` says so. Returns answers and report."""
    from serve.api.examples import requests
    from serve.deployment.endpoint import compacting_events, curl, running_endpoint
    from towers.evaluation.report import report_of

    with running_endpoint(config) as address, compacting_events(config):
        step("asking for recommendations")
        answers = ask(address, checkpoint, config.demo.k)
        seconds = step.seconds
        print(f"\nDone in {seconds:.0f} s. The endpoint is {address} (documentation: {address}/docs). Try:\n")
        user_id = next(body["user_id"] for body in requests(checkpoint, 1).values())
        print(f"  {curl(address, config.auth.asks, user_id)}\n", flush=True)
        if config.demo.wait:
            with page_beside(config.page, address, config.storage.root, metrics_addresses()) as said:
                print(f"Look at the answers: {said}\nServing until Ctrl-C.", flush=True)
                wait_for_stop()
    return {"address": address, "seconds": seconds, "answers": answers, **report_of(checkpoint.manifest).as_json()}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.demo")
