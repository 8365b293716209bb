"""Training speed beside other Python two-towers, in one run on one machine: `make peers`, then
`python -m tests.benchmarks.bench_training [data=gowalla] [threads=2] [rounds=3] [steps=100]`.

Same log, batch size, dimension and number of negatives for all; each takes its turn in every round, and the median
counts. Peers are handed their batches as favourably as their trainers allow. Writes var/bench/training.{md,json}.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import ray.data
import torch
from rich.console import Console
from rich.progress import track

from conf.schema import load
from conf.session import ClusterConfig, connect
from data.batches import HistoryOrder, ShardBatches, TrainBatch
from data.prepare import prepare
from data.prepared import PreparedDataset
from data.split import TRAIN
from data.storage import Folder
from tests.benchmarks.tables import write
from towers.build import FitOn, build, fit_counts
from towers.loop import Objective, train_epoch
from towers.losses import LossConfig, LossKind
from towers.optimizer import Optimizers
from towers.trainer import sides
from towers.two_tower import HistoryKind, ModelConfig

BATCH, WARM_UP = 2048, 5
PEERS = Path(__file__).parent / "peers"
PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
LOSSES = {
    "in-batch softmax, 2,047 negatives": (LossConfig(num_uniform=0), 0),
    "in-batch softmax, with a perceptron as DSSM has": (LossConfig(num_uniform=0), 64),
    "uniform softmax, 2,048 negatives": (LossConfig(in_batch=False, num_uniform=2048), 0),
    "BPR": (LossConfig(kind=LossKind.bpr, in_batch=False, num_uniform=1, log_q=False), 0),
}


def main(data: str = "gowalla", threads: int = 2, rounds: int = 3, steps: int = 100) -> None:
    torch.set_num_threads(threads)
    console, storage = Console(), Folder.of("var")
    dataset = prepare(load([f"data={data}"]).data, storage)
    table = dataset.interactions(TRAIN, columns=["user_row", "item_row"])
    users, items = (table[name].to_numpy() for name in ("user_row", "item_row"))
    file = Path("var/bench/interactions.npz")
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, users=users.astype(np.int64), items=items.astype(np.int64))
    rates: dict[str, list[float]] = {}
    for _ in track(range(rounds), "rounds", console=console):
        for name, (loss, hidden) in LOSSES.items():
            batches = list(in_memory(users, items, WARM_UP + steps))
            rates.setdefault(name, []).append(rate(dataset, loss, hidden, batches))
        for script, count in (("torch_rechub_dssm", max(steps // 5, 1)), ("recbole_bpr", 1)):
            rates.setdefault(script, []).append(peer(script, file, count, threads))
    rows = [{"what": name, "examples_per_s": median(found)} for name, found in rates.items()]
    speed = {row["what"]: row["examples_per_s"] for row in rows}
    ratios = {
        "in_batch_vs_torch_rechub": speed["in-batch softmax, 2,047 negatives"] / speed["torch_rechub_dssm"],
        "in_batch_perceptron_vs_torch_rechub": speed[[*LOSSES][1]] / speed["torch_rechub_dssm"],
        "bpr_vs_recbole": speed["BPR"] / speed["recbole_bpr"],
        **feeding_cost(dataset, users, items),
    }
    facts = {"data": data, "interactions": len(users), "batch_size": BATCH, "threads": threads, "rounds": rounds}
    write("training", "Training speed", facts, rows, ratios, console)


def in_memory(users: np.ndarray, items: np.ndarray, count: int) -> Iterator[TrainBatch]:
    """The first batches of a permuted log."""
    order = np.random.default_rng(0).permutation(len(users))
    for start in range(0, min(count * BATCH, len(users)), BATCH):
        rows = order[start : start + BATCH]
        yield TrainBatch(users[rows], items[rows], np.zeros((len(rows), 0), np.int32))


def rate(dataset: PreparedDataset, loss: LossConfig, hidden_dim: int, batches: list[TrainBatch]) -> float:
    """Positives per second of our training loop, after a few batches of warm-up."""
    step = steps_of(dataset, loss, hidden_dim)
    step(batches[:WARM_UP])
    seconds = step(batches[WARM_UP:])
    return sum(len(batch.user_rows_B) for batch in batches[WARM_UP:]) / seconds


def steps_of(dataset: PreparedDataset, loss: LossConfig, hidden_dim: int = 0):  # type: ignore[no-untyped-def]
    """A function that trains on batches and says how long it took, seconds."""
    config = ModelConfig(history=HistoryKind.none, id_dropout=0.0, hidden_dim=hidden_dim, dropout=0.0)
    model = build(config, *sides(dataset, FitOn.train), seed=0)
    optimizers, generator = Optimizers(model, lr=0.003, weight_decay=0.0), torch.Generator().manual_seed(0)
    objective = Objective(loss, fit_counts(dataset.items, FitOn.train))

    def train(batches: Iterable[TrainBatch]) -> float:
        started = time.perf_counter()
        for _ in train_epoch(
            model, optimizers, objective, batches, generator, torch.device("cpu"), iter(lambda: 1.0, 0)
        ):
            pass
        return time.perf_counter() - started

    return train


def feeding_cost(dataset: PreparedDataset, users: np.ndarray, items: np.ndarray, epochs: int = 4) -> dict[str, float]:
    """What Ray Data adds to the loop on arrays: seconds once, to read the shard, and a share of each later epoch."""
    connect(ClusterConfig(dashboard=False))
    shard = ray.data.read_parquet(dataset.paths(TRAIN), columns=["user_row", "item_row", "position"]).iterator()
    fed = ShardBatches(shard, dataset.sequences(TRAIN), BATCH, 0, HistoryOrder.before, in_memory=True)
    loss = LossConfig(in_batch=False, num_uniform=1024)
    from_arrays, from_ray = steps_of(dataset, loss), steps_of(dataset, loss)
    pairs = [(from_ray(fed.epoch(e)), from_arrays(in_memory(users, items, len(users)))) for e in range(epochs)]
    (first, _), *later = pairs
    bare = sum(seconds for _, seconds in pairs) / epochs
    return {
        "ray_data_first_read_s": first - bare,
        "ray_data_cost_later_epochs": sum(seconds for seconds, _ in later) / sum(seconds for _, seconds in later) - 1,
        "ray_data_cost_of_40_epochs": (first + 39 * sum(s for s, _ in later) / len(later)) / (40 * bare) - 1,
    }


def peer(script: str, file: Path, count: int, threads: int) -> float:
    """Positives per second that a peer's own trainer reaches, in the peers' environment."""
    command = [PYTHON, PEERS / f"{script}.py", file.resolve(), BATCH, count, threads]
    found = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, cwd=file.parent)
    return json.loads(found.stdout.strip().splitlines()[-1])["examples_per_s"]


if __name__ == "__main__":
    if not PYTHON.exists():
        raise SystemExit("no .venv-peers: run `make peers` first, which installs what is compared with")
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(**{name: value if name == "data" else int(value) for name, value in given.items()})
