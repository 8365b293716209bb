"""What a worker holds and how fast it trains with whole and sharded tables: `python -m
tests.benchmarks.distributed.bench_tables [workers=4] [users=1000000] [items=200000] [steps=20] [batch=8192]`.

The workers are processes of this machine with one thread each, which exchange by gloo. Both kinds of tables train on
the same batches. A worker's memory is what its process has grown by at most since before the model was built, so that
tables, their gradients and what the optimizers remember are all in it. Writes var/bench/tables.{md,json}.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
from time import perf_counter

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from rich.console import Console

from data.sequences.batches import TrainBatch
from tests.benchmarks.harness.tables import write
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.two_tower import TowerInputs
from towers.training.loop import Objective, train_epoch
from towers.training.losses.config import LossConfig
from towers.training.optimizer import Optimizers

CPU, LENGTH, ROUNDS = torch.device("cpu"), 20, 3


def main(workers: int = 4, users: int = 1_000_000, items: int = 200_000, steps: int = 20, batch: int = 8192) -> None:
    rows = []
    for tables in ("whole", "sharded"):
        with tempfile.TemporaryDirectory() as folder:
            mp.start_processes(measure, (workers, tables, users, items, steps, batch, Path(folder)), nprocs=workers)
            found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(workers)]
        seconds = median(max(of_round) for of_round in zip(*(f["seconds"] for f in found), strict=True))
        rows.append(
            {
                "tables": tables,
                "positives/s": batch * steps / seconds,
                "MiB a worker": mean(f["mib"] for f in found),
                "of it tables and moments": mean(f["tables_mib"] for f in found),
            }
        )
    whole, sharded = rows
    ratios = {
        "sharded_memory_ratio": sharded["MiB a worker"] / whole["MiB a worker"],
        "sharded_throughput_ratio": sharded["positives/s"] / whole["positives/s"],
    }
    facts = {"workers": workers, "users": users, "items": items, "batch": batch, "history": LENGTH}
    write("tables", "whole and sharded tables", facts, rows, ratios, Console())


def measure(rank: int, workers: int, tables: str, users: int, items: int, steps: int, batch: int, folder: Path) -> None:
    """Trains on this worker's share of the batches, and writes seconds by round, and MiB."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=workers)
    random, size = np.random.default_rng(rank), batch // workers
    batches = [
        TrainBatch(*(drawn.astype(np.int32) for drawn in (
            random.integers(1, users, size), popular(random, items, size), popular(random, items, (size, LENGTH)),
        )))
        for _ in range(steps)
    ]  # fmt: skip
    inputs = [side(size) for size in (users, items)]
    objective = Objective(LossConfig(), np.append(0, np.ones(items - 1, np.int64)))
    before = peak_mib()
    model = build_model(ModelConfig(tables=tables, history_length=LENGTH), *inputs, seed=0)
    optimizers, seconds = Optimizers(model, 0.002, 0.0), []
    for _ in range(1 + ROUNDS):
        generator = torch.Generator().manual_seed(0)
        dist.barrier()
        started = perf_counter()
        for _ in train_epoch(model, optimizers, objective, batches, generator, CPU, [1.0] * steps):
            pass
        seconds.append(perf_counter() - started)
    of_tables = [*model.parameters(), *optimizers.state().values()]
    found = {
        "seconds": seconds[1:],
        "mib": peak_mib() - before,
        "tables_mib": sum(tensor.nbytes for tensor in of_tables) / 2**20,
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def side(size: int) -> TowerInputs:
    encoder = FeatureEncoder((), {}, {})
    return TowerInputs(encoder, encoder.encode(pa.table({"row": np.arange(1, size)})), torch.arange(size) > 0)


def popular(random: np.random.Generator, items: int, shape: int | tuple[int, int]) -> np.ndarray:
    """Item rows, of which each is drawn in inverse proportion to its number, as in Zipf's law."""
    return np.minimum((items ** random.random(shape)).astype(np.int64), items - 1)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(**{name: int(value) for name, _, value in (argument.partition("=") for argument in sys.argv[1:])})
