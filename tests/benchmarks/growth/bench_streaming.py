"""Training on a log that workers stream from its files, beside the same log held in memory, on Gowalla:
`DATASETS=... python -m tests.benchmarks.growth.bench_streaming [epochs=3] [rounds=1] [OVERRIDES ...]`.

The recipe is that of experiment=gowalla but for the number of epochs, over which the learning rate falls, and the
item-item filter's suggestions, and it leaves the validation part out, on which both are measured. The seconds are those
of the epochs, validation included. Writes var/bench/streaming.{md,json}.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from conf.schema import load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from tests.benchmarks.harness.tables import write
from towers.training.fit import train

ROOT = Path("var/bench-streaming")
HELD_IN_MEMORY = {"in memory": 200_000_000, "streamed": 0}
FIXED = (
    "experiment=gowalla", f"storage.root={ROOT}", "tracking=off", "train.fit_on=train", "train.suggested=0",
    "train.monitor=recall@20", "rerank.max_queries=1000", "rerank.epochs=1", "evaluate.max_users=1000",
    "evaluate.baselines=[]",
)  # fmt: skip


def main(epochs: int, rounds: int, overrides: Sequence[str]) -> None:
    connect(ClusterConfig(dashboard=False))
    rows = [
        trained(kind, round_, epochs, overrides)
        for round_ in range(rounds)
        for kind in (list(HELD_IN_MEMORY) if round_ % 2 == 0 else list(HELD_IN_MEMORY)[::-1])
    ]
    memory, streamed = ([row for row in rows if row["how"] == kind] for kind in HELD_IN_MEMORY)
    rate = [max(row["positives_per_s"] for row in of) for of in (memory, streamed)]
    recall = [sum(row["recall@20"] for row in of) / len(of) for of in (memory, streamed)]
    ratios = {"streaming_ratio": rate[1] / rate[0], "recall_difference": recall[1] - recall[0]}
    facts = {"data": "gowalla", "epochs": epochs, "overrides": " ".join(overrides)}
    write("streaming", "Training on a log that is streamed", facts, rows, ratios, Console())


def trained(kind: str, seed: int, epochs: int, overrides: Sequence[str]) -> dict[str, Any]:
    """One training and what it measured on the validation part."""
    own = [f"train.in_memory_rows={HELD_IN_MEMORY[kind]}", f"train.epochs={epochs}", f"seed={seed}"]
    config = load([*FIXED, *own, *overrides])
    storage = Folder.of(config.storage.root)
    for folder in ("training", "checkpoints"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    totals = train(config, prepare(config.data, storage), storage).manifest["training"]
    return {
        "how": kind,
        "seed": seed,
        "seconds": totals["seconds"],
        "positives_per_s": totals["examples"] / totals["seconds"],
        "recall@20": totals["best_value"],
    }


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    numbers = {name: int(given.pop(name, default)) for name, default in (("epochs", 3), ("rounds", 1))}
    main(**numbers, overrides=[f"{key}={value}" for key, value in given.items()])
