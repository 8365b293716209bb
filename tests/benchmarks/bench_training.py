"""Training speed beside other Python two-towers, in one run on one machine: `make peers`, then
`python -m tests.benchmarks.bench_training [data=gowalla] [threads=2] [rounds=3] [steps=100]`.

Same log, batch size, dimension and number of negatives for all; each takes its turn in every round, and the median
counts. Peers are handed their batches as favourably as their trainers allow. Also: what Ray Data adds to the loop on
arrays, and where a step's milliseconds go. Writes var/bench/training.{md,json}.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from statistics import median

import numpy as np
import ray.data
import torch
from rich.console import Console
from rich.progress import track

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN
from data.sequences.batches import ShardBatches, TrainBatch
from data.sequences.histories import HistoryOrder
from tests.benchmarks.harness.peer import PYTHON, run_peer, save_interactions
from tests.benchmarks.harness.steps import CPU, Loop, in_memory
from tests.benchmarks.harness.tables import write
from towers.model.config import ModelConfig
from towers.training.loop import user_vectors_and_positives
from towers.training.losses.config import LossConfig

BATCH, WARM_UP = 2048, 5
IN_BATCH, PERCEPTRON, UNIFORM, BPR = (
    "in-batch softmax, 2,047 negatives",
    "in-batch softmax, with a perceptron as DSSM has",
    "uniform softmax, 2,048 negatives",
    "BPR",
)
LOSSES = {
    IN_BATCH: (LossConfig(num_uniform=0), 0),
    PERCEPTRON: (LossConfig(num_uniform=0), 64),
    UNIFORM: (LossConfig(in_batch=False, num_uniform=2048), 0),
    BPR: (LossConfig(kind="bpr", in_batch=False, num_uniform=1, log_q=False), 0),
}


def main(data: str = "gowalla", threads: int = 2, rounds: int = 3, steps: int = 100) -> None:
    torch.set_num_threads(threads)
    console = Console()
    base = load([f"data={data}", "train.learning_rate=0.003"])
    dataset = prepare(base.data, Folder.of("var"))
    table = dataset.interactions(TRAIN, columns=["user_row", "item_row"])
    users, items = (table[name].to_numpy() for name in ("user_row", "item_row"))
    file, rates = save_interactions(users, items), {}
    for _ in track(range(rounds), "rounds", console=console):
        for name, (loss, hidden_dim) in LOSSES.items():
            batches = list(islice(in_memory(users, items, BATCH), WARM_UP + steps))
            rates.setdefault(name, []).append(rate(Loop.of(dataset, config(base, loss, hidden_dim)), batches))
        for script, count in (("torch_rechub_dssm", max(steps // 5, 1)), ("recbole_bpr", 1)):
            found = run_peer(script, file, BATCH, count, threads)["examples_per_s"]
            rates.setdefault(script, []).append(found)
    rows = [{"what": name, "examples_per_s": median(found)} for name, found in rates.items()]
    speed = {row["what"]: row["examples_per_s"] for row in rows}
    ratios = {
        "in_batch_vs_torch_rechub": speed[IN_BATCH] / speed["torch_rechub_dssm"],
        "in_batch_perceptron_vs_torch_rechub": speed[PERCEPTRON] / speed["torch_rechub_dssm"],
        "uniform_vs_torch_rechub": speed[UNIFORM] / speed["torch_rechub_dssm"],
        "bpr_vs_recbole": speed[BPR] / speed["recbole_bpr"],
        **feeding_cost(dataset, base, users, items),
    }
    parts = milliseconds(
        Loop.of(dataset, config(base, LOSSES[IN_BATCH][0])),
        list(islice(in_memory(users, items, BATCH), WARM_UP + steps)),
    )
    console.print({f"step, {name}": f"{ms:.2f} ms" for name, ms in parts.items()})
    facts = {"data": data, "interactions": len(users), "batch_size": BATCH, "threads": threads, "rounds": rounds}
    write(
        "training",
        "Training speed",
        facts,
        rows,
        ratios | {f"step_ms_{name}": ms for name, ms in parts.items()},
        console,
    )


def config(base: Config, loss: LossConfig, hidden_dim: int = 0) -> Config:
    """Users by their ids alone."""
    model = ModelConfig(history="none", id_dropout=0.0, hidden_dim=hidden_dim, dropout=0.0)
    return replace(base, model=model, loss=loss)


def rate(loop: Loop, batches: list[TrainBatch]) -> float:
    """Positives per second of our training loop, after a few batches of warm-up."""
    loop.train(batches[:WARM_UP])
    seconds = loop.train(batches[WARM_UP:])
    return sum(len(batch.user_rows_B) for batch in batches[WARM_UP:]) / seconds


def milliseconds(loop: Loop, batches: list[TrainBatch]) -> dict[str, float]:
    """Median milliseconds of each part of a step.

    `towers`: the lookups and vectors of users and positives; `loss`: the rest of the way to the loss, in which the
    gradients of the scores are computed too; `backward`: from there to the tables.
    """
    spent: dict[str, list[float]] = {name: [] for name in ("towers", "loss", "backward", "optimizer")}

    def timed(name: str, call: Callable[[], object]) -> object:
        started = time.perf_counter()
        found = call()
        spent[name].append(1000 * (time.perf_counter() - started))
        return found

    loop.model.train()
    for batch in batches:
        loop.optimizers.zero_grad()
        timed("towers", lambda b=batch: loop.model.item_vectors(user_vectors_and_positives(loop.model, b, CPU)[1]))
        loss = timed("loss", lambda b=batch: loop.objective(loop.model, b, loop.generator, CPU))
        timed("backward", loss.backward)  # type: ignore[attr-defined]
        timed("optimizer", loop.optimizers.step)
    found = {name: median(values[WARM_UP:]) for name, values in spent.items()}
    return found | {"loss": found["loss"] - found["towers"]}


def feeding_cost(
    dataset: PreparedDataset, base: Config, users: np.ndarray, items: np.ndarray, epochs: int = 4
) -> dict[str, float]:
    """What Ray Data adds to the loop on arrays: seconds once, to read the shard, and a share of each later epoch."""
    connect(ClusterConfig(dashboard=False))
    shard = ray.data.read_parquet(dataset.paths(TRAIN), columns=["user_row", "item_row", "position"]).iterator()
    fed = ShardBatches(shard, dataset.sequences(TRAIN), BATCH, 0, HistoryOrder.before)
    settings = config(base, LossConfig(in_batch=False, num_uniform=1024))
    from_arrays, from_ray = Loop.of(dataset, settings), Loop.of(dataset, settings)
    pairs = [
        (from_ray.train(fed.epoch(e)), from_arrays.train(in_memory(users, items, BATCH, seed=e))) for e in range(epochs)
    ]
    (first, _), *later = pairs
    bare = sum(seconds for _, seconds in pairs) / epochs
    return {
        "ray_data_first_read_s": first - bare,
        "ray_data_cost_later_epochs": sum(seconds for seconds, _ in later) / sum(seconds for _, seconds in later) - 1,
        "ray_data_cost_of_40_epochs": (first + 39 * sum(s for s, _ in later) / len(later)) / (40 * bare) - 1,
    }


if __name__ == "__main__":
    if not PYTHON.exists():
        raise SystemExit("no .venv-peers: run `make peers` first, which installs what is compared with")
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(**{name: value if name == "data" else int(value) for name, value in given.items()})
