"""What the tables of feature values cost, by the size of their vocabulary: `python -m tests.benchmarks.bench_features
[threads=1] [rounds=5] [steps=20]`.

Dense gradients with Adam, as the tables once had, beside sparse ones with row-wise Adam. Both take turns in every round
on the same batches, and the median counts. A worker exchanges the gradient of a dense table whole, and the touched rows
of a sparse one with their numbers. Writes var/bench/features.{md,json}.
"""

import sys
from statistics import median

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console

from data.dataset.catalogue import Catalogue
from data.sequences.batches import TrainBatch
from data.sources.schema import Feature, FeatureKind
from tests.benchmarks.harness.steps import CPU, Loop
from tests.benchmarks.harness.tables import write
from towers.model.build import build_model, encode_catalogues
from towers.model.config import FittedSplits, ModelConfig
from towers.training.loop import Objective
from towers.training.losses.config import LossConfig
from towers.training.optimizer import Optimizers

USERS, ITEMS, WORDS, BATCH, LENGTH = 5_000, 100_000, 8, 1024, 20
VOCABULARIES = (100, 10_000, 100_000, 500_000)


def main(threads: int = 1, rounds: int = 5, steps: int = 20) -> None:
    torch.set_num_threads(threads)
    rows = [measured(vocabulary, rounds, steps) for vocabulary in VOCABULARIES]
    ratios = {f"dense_to_sparse_step_{row['vocabulary']}": row["dense, ms"] / row["sparse, ms"] for row in rows}
    facts = {"items": ITEMS, "words per item": WORDS, "batch": BATCH, "threads": threads}
    write("features", "tables of feature values", facts, rows, ratios, Console())


def measured(vocabulary: int, rounds: int, steps: int) -> dict[str, float]:
    """Milliseconds of a step, and MB that a worker sends in it for the table, both ways."""
    random, seconds = np.random.default_rng(0), {"dense": [], "sparse": []}
    batches = [batch(random) for _ in range(steps)]
    loops = {name: loop(vocabulary, is_sparse=name == "sparse") for name in seconds}
    for each in loops.values():
        each.train(batches[:3])
    for _ in range(rounds):
        for name, each in loops.items():
            seconds[name].append(each.train(batches) / steps)
    table = loops["sparse"].model.item_features.tables["words"].weight
    dim, touched = table.shape[1], table.grad.coalesce().indices().shape[1]
    return {
        "vocabulary": vocabulary,
        "dense, ms": 1000 * median(seconds["dense"]),
        "sparse, ms": 1000 * median(seconds["sparse"]),
        "dense, MB": len(table) * dim * 4 / 1e6,
        "sparse, MB": touched * (dim * 4 + 8) / 1e6,
    }


def loop(vocabulary: int, is_sparse: bool) -> Loop:
    """The training of towers whose items have words of a vocabulary of this size."""
    random = np.random.default_rng(1)
    words = pa.array([f"w{number:07d}" for number in range(vocabulary)])
    drawn = np.concatenate([np.arange(vocabulary), random.integers(0, vocabulary, ITEMS * WORDS)])[: ITEMS * WORDS]
    lists = pa.ListArray.from_arrays(np.arange(0, ITEMS * WORDS + 1, WORDS, np.int32), words.take(pa.array(drawn)))
    counts = {"train_count": np.ones(ITEMS, np.int64), "validation_count": np.zeros(ITEMS, np.int64)}
    feature = Feature(name="words", kind=FeatureKind.multi_categorical)
    items = Catalogue("item_id", pa.table({"words": lists} | counts), (feature,))
    users = Catalogue("user_id", pa.table({name: count[:USERS] for name, count in counts.items()}), ())
    model = build_model(
        ModelConfig(history_length=LENGTH), *encode_catalogues(users, items, FittedSplits.train), seed=0
    )
    model.item_features.tables["words"].sparse = is_sparse
    objective = Objective(LossConfig(), np.append(0, counts["train_count"]))
    return Loop(model, Optimizers(model, 0.002, 0.0), objective, torch.Generator().manual_seed(0), None, CPU)


def batch(random: np.random.Generator) -> TrainBatch:
    """Positives with full histories, drawn uniformly."""
    users, items = random.integers(1, USERS, BATCH), random.integers(1, ITEMS, BATCH)
    return TrainBatch(*(a.astype(np.int32) for a in (users, items, random.integers(1, ITEMS, (BATCH, LENGTH)))))


if __name__ == "__main__":
    main(**{name: int(value) for name, _, value in (argument.partition("=") for argument in sys.argv[1:])})
