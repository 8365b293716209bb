"""The whole stack in one command, `make demo`: from a log to an endpoint that answers requests.

Examples:
    python -m serve.demo
    python -m serve.demo data=gowalla demo.wait=false
"""

import os
import time
import uuid
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
    from serve.events.config import EventsConfig
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


def act(address: str, user_id: str, k: int, events: "EventsConfig") -> dict[str, Any]:
    """Posts three events of a user, shows the answers before and after as tables, and returns them as JSON values.

    The events are of the positive type with the highest weight, with the last item of the answer before and the two
    items most similar to it.
    """
    from serve.api.examples import answer_table, strongest_type
    from serve.client import RecommendClient

    type_ = strongest_type(events)
    with RecommendClient(address) as client:
        before = client.recommend(user_id=user_id, k=k)
        taken = [before.items[-1].id, *(item.id for item in client.similar(before.items[-1].id, k=2).items)]
        sent = [{"event_id": uuid.uuid4().hex, "user_id": user_id, "item_id": id_, "type": type_} for id_ in taken]
        started = time.perf_counter()
        client.send_events(sent)
        posted = time.perf_counter()
        after = client.recommend(user_id=user_id, k=k)
        answered = time.perf_counter()
    between_ms = round(1000 * (answered - started), 1)
    show(answer_table(f"{user_id}, before", before))
    show(answer_table(f"{user_id}, after {type_} of {', '.join(taken)}", after))
    print(f"{between_ms} ms from the first byte of the events to the other answer;", end=" ")
    print(f"the events were durable after {1000 * (posted - started):.1f} ms.", flush=True)
    shown = {"before": before, "after": after}
    return {name: answer.model_dump(mode="json") for name, answer in shown.items()} | {
        "events": sent,
        "between_ms": between_ms,
    }


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
    from serve.deployment.endpoint import compacting_logs, curl, running_endpoint
    from towers.evaluation.report import report_of

    with running_endpoint(config) as address, compacting_logs(config):
        step("asking for recommendations")
        answers = ask(address, checkpoint, config.demo.k)
        user_id = next(body["user_id"] for body in requests(checkpoint, 1).values())
        acted = {}
        if config.events.is_on:
            step("posting three events of the known user, and asking again")
            acted = {"events": act(address, user_id, config.demo.k, config.events)}
        seconds = step.seconds
        print(f"\nDone in {seconds:.0f} s. The endpoint is {address} (documentation: {address}/docs). Try:\n")
        print(f"  {curl(address, config.auth.asks, user_id)}\n", flush=True)
        if config.demo.wait:
            with page_beside(config.page, address, config.storage.root, metrics_addresses()) as said:
                print(f"Look at the answers: {said}\nServing until Ctrl-C.", flush=True)
                wait_for_stop()
    report = report_of(checkpoint.manifest).as_json()
    return {"address": address, "seconds": seconds, "answers": answers, **acted, **report}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.demo")
