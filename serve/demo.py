"""The whole way in one command, `make demo`: log -> dataset -> towers -> release -> endpoint -> recommendations."""

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from data.prepare import prepare
from data.schema import FeatureKind
from data.storage import Folder
from serve.api import RecommendResponse
from serve.client import RecommendClient
from serve.front import runtime_env
from serve.gate import Gatekeeper
from serve.promote import promote
from serve.publish import publish
from serve.release import Registry
from serve.run import curl, running, wait_for_stop
from towers.checkpoint import Checkpoint
from towers.report import report_of
from towers.tables import metrics_table
from towers.train import train

if TYPE_CHECKING:
    from conf.schema import Config


class Steps:
    """Numbered headings with the time since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._number = 0

    def __call__(self, heading: str) -> None:
        self._number += 1
        print(f"\n[{self._number}] {heading}  ({time.perf_counter() - self._started:.0f} s)", flush=True)

    @property
    def seconds(self) -> float:
        return round(time.perf_counter() - self._started, 1)


def requests(checkpoint: Checkpoint, k: int) -> dict[str, dict[str, Any]]:
    """Requests that fit any dataset: a known user, an unknown one, one with a filter, one with a history, a context."""
    seen = checkpoint.seen
    known_row = int((seen.lengths_U >= min(10, seen.lengths_U.max())).argmax())
    known = checkpoint.users.ids.ids(np.array([known_row]))[0].as_py()
    recent = checkpoint.items.ids.ids(seen.of_user(known_row)[-3:]).to_pylist()
    filtered = {"user_id": known, "k": k} | ({"filter": f} if (f := example_filter(checkpoint)) else {})
    values = checkpoint.reranker.context.as_json()
    context = {name: known_values[-1] for name, known_values in values.items() if known_values}
    told = {f"known user, context {context}": {"user_id": known, "k": k, "context": context}} if context else {}
    return {
        f"known user {known}": {"user_id": known, "k": k},
        "unknown user": {"user_id": "nobody-we-know", "k": k},
        f"known user, filter {filtered.get('filter')}": filtered,
        f"no user id, history {recent} in the request": {"history": recent, "k": k},
        **told,
    }


def example_filter(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """A filter on the first filterable item feature, by its most common value."""
    for feature in checkpoint.items.features:
        column = checkpoint.items.table[feature.name].combine_chunks()
        if feature.kind is FeatureKind.multi_categorical:
            counts = column.flatten().value_counts()
        elif feature.kind is FeatureKind.categorical:
            counts = column.drop_null().value_counts()
        else:
            continue
        if len(counts):
            value = max(counts.to_pylist(), key=lambda c: c["counts"])["values"]
            op = "contains" if feature.kind is FeatureKind.multi_categorical else "=="
            return {"field": feature.name, "op": op, "value": value}
    return None


def answer_table(title: str, answer: RecommendResponse) -> Table:
    """One answer for people: titles, features, scores, and where the time went."""
    stages = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in answer.timings_ms.items())
    table = Table(
        title=title,
        caption=f"{answer.source.value}{' DEGRADED ' + str(answer.reasons) if answer.degraded else ''}; {stages}",
    )
    for column in ("", "title", "features", "score"):
        table.add_column(column, justify="right" if column in ("", "score") else "left")
    for rank, item in enumerate(answer.items, start=1):
        features = "  ".join(_plain(value) for value in item.features.values() if value not in (None, []))
        table.add_row(str(rank), item.title, features, f"{item.score:.3f}")
    return table


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def ask(address: str, checkpoint: Checkpoint, k: int) -> dict[str, Any]:
    """Asks and shows; returns the answers as JSON values."""
    from conf.session import show

    answers = {}
    with RecommendClient(address) as client:
        for title, body in requests(checkpoint, k).items():
            answer = client.recommend(**body)
            show(answer_table(title, answer))
            answers[title] = answer.model_dump(mode="json")
    return answers


def task(config: "Config") -> dict[str, Any]:
    """Entry point: every step of the way, each as its own entry point would do it."""
    from conf.session import connect, show

    step, storage = Steps(), Folder.of(config.storage.root)
    step(f"starting Ray; the log: {config.data.name}")
    connect(config.cluster, runtime_env(config.serve.ingress.in_flight))
    step("preparing the dataset with Ray Data")
    dataset = prepare(config.data, storage)
    step("training both towers with Ray Train")
    checkpoint = train(config, dataset, storage)
    step("evaluation on the full catalogue, beside its floors")
    show(metrics_table(report_of(checkpoint.manifest), checkpoint.name, config.evaluate.peers))
    step("publishing item vectors to Milvus as a release")
    keeper = Gatekeeper(config=config.gate, evaluate=config.evaluate, show=show)
    release_id = publish(config.index, checkpoint, storage, keeper=keeper)
    step("promoting the release")
    registry = Registry.of(storage)
    promote(config.index, registry, release_id, config.serve.ready_within_s)
    step("starting Ray Serve")
    with running(config) as address:
        step("asking for recommendations")
        answers = ask(address, checkpoint, config.demo.k)
        seconds = step.seconds
        print(f"\nDone in {seconds:.0f} s. The endpoint is {address} (documentation: {address}/docs). Try:\n")
        user_id = next(body["user_id"] for body in requests(checkpoint, 1).values())
        print(f"  {curl(address, user_id)}\n", flush=True)
        if config.demo.wait:
            print("Serving until Ctrl-C.", flush=True)
            wait_for_stop()
    report = report_of(checkpoint.manifest).as_json()
    return {"address": address, "release": release_id, "seconds": seconds, "answers": answers, **report}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.demo")
