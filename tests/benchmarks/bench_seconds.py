"""Seconds of training to a given quality on Gowalla, beside implicit's ALS and the item-item filter, in one run:
`make peers`, then `DATASETS=... python -m tests.benchmarks.bench_seconds [epochs=3,10,20,40,80] [threads=2]`.

The recipe is that of experiment=gowalla but for the number of epochs, over which the learning rate falls, and the
item-item filter's suggestions, which the short runs leave out: they take longer than a short run. Nothing is chosen by
what is measured here on the test part. Writes var/bench/seconds.{md,json}.
"""

import sys
import time
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from rich.console import Console

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from tests.benchmarks.harness.peer import PYTHON, run_peer, save_interactions
from tests.benchmarks.harness.steps import Loop, in_memory
from tests.benchmarks.harness.tables import write
from towers.evaluation.baselines.item_filter import item_filter, rank_by_filter
from towers.evaluation.measure import measure
from towers.evaluation.queries import queries_of
from towers.evaluation.ranking import QueryVectors, Ranking, embed, retrieve
from towers.model.build import interaction_counts
from towers.model.smoothing import smooth
from towers.model.two_tower import all_item_vectors
from towers.training.optimizer import linear_decay

TARGETS = (0.1745, 0.188)
K = 20
SHORT = 20
"""Epochs below which a run goes without suggestions."""


def main(epochs: str = "3,10,20,40,80", threads: int = 2) -> None:
    torch.set_num_threads(threads)
    config, console = load(["experiment=gowalla"]), Console()
    dataset = prepare(config.data, Folder.of("var"))
    test = Test(dataset, config)
    rows = [als(test, factors, iterations, threads) for factors, iterations in ((64, 4), (256, 5))]
    rows.append(filtered(test))
    for number in map(int, epochs.split(",")):
        console.print(f"training for {number} epochs")
        rows.append(towers(test, number))
    ours = [row for row in rows if row["what"].startswith("towers")]
    reached = {
        f"seconds_to_recall_{target}": min(
            (row["seconds"] for row in ours if row["recall@20"] >= target), default=float("nan")
        )
        for target in TARGETS
    }
    facts = {"data": config.data.name, "threads": threads, "dim": config.model.embedding_dim}
    write("seconds", "Quality by seconds of training", facts, rows, reached, console)


class Test:
    """Gowalla's test part, and the interactions to fit on."""

    def __init__(self, dataset: PreparedDataset, config: Config) -> None:
        self.config, self.dataset, self.held_out = config, dataset, queries_of(dataset)
        self.counts_I = interaction_counts(dataset.items, config.train.fit_on)
        self.sequences = dataset.sequences(*config.train.fit_on.splits)

    def row(self, name: str, ranking: Ranking, seconds: float) -> dict[str, Any]:
        found = measure(ranking, self.held_out, len(self.counts_I), [K])
        return {"what": name, "seconds": seconds} | {m: found[m] for m in (f"recall@{K}", f"ndcg@{K}")}

    def ranked(self, queries: QueryVectors, item_ID: torch.Tensor) -> Ranking:
        return retrieve(queries, self.held_out, self.counts_I, item_ID, self.config.evaluate.batch_size)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """User rows and item rows of all interactions fitted on."""
        return np.repeat(np.arange(len(self.sequences.lengths_U)), self.sequences.lengths_U), self.sequences.items_N


def towers(test: Test, epochs: int) -> dict[str, Any]:
    """The recipe, shortened; the spectral start counts, what Ray Train adds to a run does not."""
    share = test.config.train.suggested if epochs >= SHORT else 0.0
    config = replace(test.config, train=replace(test.config.train, epochs=epochs, suggested=share))
    started = time.perf_counter()
    loop = Loop.of(test.dataset, config)
    users, items = test.pairs()
    steps = -(-len(users) // config.train.batch_size)
    batches = chain.from_iterable(in_memory(users, items, config.train.batch_size, seed=e) for e in range(epochs))
    if loop.suggested:
        batches = loop.suggested.replace_positives(batches, np.random.default_rng(config.seed))
    loop.train(batches, rates=(linear_decay(step / (epochs * steps)) for step in range(epochs * steps)))
    smooth(loop.model, test.sequences)
    seconds = time.perf_counter() - started
    queries = embed(loop.model.eval(), test.held_out, config.evaluate.batch_size)
    return test.row(f"towers, {epochs} epochs", test.ranked(queries, all_item_vectors(loop.model)), seconds)


def als(test: Test, factors: int, iterations: int, threads: int) -> dict[str, Any]:
    file = save_interactions(*test.pairs())
    out = file.with_name("als.npz")
    seconds = run_peer("implicit_als", file, factors, iterations, threads, out.resolve())["seconds"]
    vectors = np.load(out)
    users_UD, items_ID = (torch.from_numpy(vectors[name]) for name in ("users", "items"))
    items_ID = torch.cat([items_ID, items_ID.new_zeros(len(test.counts_I) - len(items_ID), factors)])
    rows_Q = torch.from_numpy(test.held_out.user_rows_Q).long()
    queries = QueryVectors(users_UD[rows_Q], torch.ones(len(rows_Q), dtype=torch.bool))
    return test.row(
        f"implicit ALS, {factors} factors, {iterations} iterations", test.ranked(queries, items_ID), seconds
    )


def filtered(test: Test) -> dict[str, Any]:
    started = time.perf_counter()
    weights_II, _ = item_filter(test.sequences, len(test.counts_I))
    seconds = time.perf_counter() - started
    ranking = rank_by_filter(weights_II, test.held_out, test.counts_I, test.config.evaluate.batch_size)
    return test.row("item-item filter", ranking, seconds)


if __name__ == "__main__":
    if not PYTHON.exists():
        raise SystemExit("no .venv-peers: run `make peers` first, which installs what is compared with")
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(**{name: value if name == "epochs" else int(value) for name, value in given.items()})
