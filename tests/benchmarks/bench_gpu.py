"""A GPU beside the same machine's cores, in one run: training steps of three recipes, and vectors of a large catalogue:
`DATASETS=... python -m tests.benchmarks.bench_gpu [steps=200] [items=500000]`.

Each recipe trains from the same start, on the same batches and the same draws; `loss` is the mean over the first
thirty steps after a warm-up, so a device that computes something else shows. Writes var/bench/gpu.{md,json}.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from statistics import mean, median

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from data.sequences.batches import ShardBatches, TrainBatch
from data.sequences.windows import WindowBatches
from tests.benchmarks.harness.steps import CPU, Loop
from tests.benchmarks.harness.tables import write
from towers.model.two_tower import all_item_vectors
from towers.training.config import Precision

GPU = torch.device("cuda")
WARM_UP, FIRST = 20, 30
RECIPES = {
    "ids, in-batch bilateral loss (Gowalla)": ["experiment=gowalla"],
    "ids, batch 8,192": ["experiment=gowalla", "train.batch_size=8192"],
    "transformer, 1,024 negatives (MovieLens-1M)": ["experiment=movielens_1m_leave_one_out"],
    "transformer, batch 256": ["experiment=movielens_1m_leave_one_out", "train.batch_size=256"],
}
SETTINGS = {
    "CPU": (CPU, []),
    "GPU": (GPU, []),
    "GPU, bfloat16": (GPU, ["train.precision=bfloat16"]),
    "GPU, bfloat16, compiled": (GPU, ["train.precision=bfloat16", "train.compile=true"]),
}


def main(steps: int = 200, cpu_steps: int = 30, items: int = 500_000) -> None:
    if not torch.cuda.is_available():
        print("no GPU here: nothing to measure")
        return
    connect(ClusterConfig(dashboard=False))
    console, rows, ratios = Console(width=140), [], {}
    for recipe, overrides in RECIPES.items():
        base = load(overrides)
        dataset = prepare(base.data, Folder.of("var"))
        batches = list(islice(batches_of(dataset, base), WARM_UP + steps))
        has_blocks = base.model.history == "transformer"
        for name, (device, more) in SETTINGS.items():
            if "train.compile=true" in more and not has_blocks:
                continue  # nothing there to compile
            taken = batches[: WARM_UP + (cpu_steps if device is CPU else steps)]
            found = trained(dataset, load([*overrides, *more]), device, taken)
            rows.append({"recipe": recipe, "on": name, **found})
            console.print(rows[-1])
        of_recipe = {row["on"]: row["positives_per_s"] for row in rows if row["recipe"] == recipe}
        ratios |= {f"{name} vs CPU, {recipe}": rate / of_recipe["CPU"] for name, rate in of_recipe.items()}
    ratios |= embedding(items, console)
    facts = {"gpu": torch.cuda.get_device_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    write("gpu", "A GPU beside the machine's cores", facts, rows, ratios, console)


@dataclass
class Rows:
    """Interactions that are in memory, as a worker is fed with them."""

    table: pa.Table

    def iter_batches(self, **_: object) -> Iterator[pa.Table]:
        yield self.table


def batches_of(dataset: PreparedDataset, config: Config) -> Iterator[TrainBatch]:
    sequences = dataset.sequences(*config.train.fit_on.splits)
    users, items = sequences.of_users(np.arange(len(sequences.lengths_U)))
    positions = np.arange(len(users)) - sequences.offsets_U1[users]
    columns = {"user_row": users.astype(np.int32), "item_row": items, "position": positions}
    shard, model, size = Rows(pa.table(columns)), config.model, config.train.batch_size
    if model.history_encoder.trains_on_all_positions:
        own = WindowBatches(shard, sequences, size, model.history_length)
    else:
        own = ShardBatches(shard, sequences, size, model.num_history, model.history_order)
    for epoch in range(100):
        yield from own.epoch(epoch)


def trained(
    dataset: PreparedDataset, config: Config, device: torch.device, batches: list[TrainBatch]
) -> dict[str, float]:
    """Positives per second after a warm-up, the loss, and the GPU's memory at its highest."""
    torch.set_float32_matmul_precision("high" if config.train.precision is Precision.bfloat16 else "highest")
    loop = Loop.of(dataset, replace(config, train=replace(config.train, suggested=0.0)), device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    loop.train(batches[:WARM_UP])
    losses, seconds = loop.losses(batches[WARM_UP:])
    positives = sum(int((batch.item_rows > 0).sum()) for batch in batches[WARM_UP:])
    return {
        "positives_per_s": positives / seconds,
        "step_ms": 1000 * seconds / len(losses),
        "loss": mean(losses[:FIRST]),
        "gpu_mib": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0.0,
    }


def embedding(items: int, console: Console) -> dict[str, float]:
    """Items per second through the item tower of a model with features and a perceptron."""
    config = load(["model.hidden_dim=256", f"data.source.num_items={items}", "data.source.num_users=1000"])
    config = replace(config, data=replace(config.data, name="synthetic-large"))
    dataset = prepare(config.data, Folder.of("var"))
    rates = {}
    for name, device in (("cpu", CPU), ("gpu", GPU)):
        model = Loop.of(dataset, config, device).model.eval()
        spent = []
        for _ in range(4):
            started = time.perf_counter()
            vectors = all_item_vectors(model)
            vectors.cpu()
            spent.append(time.perf_counter() - started)
        rates[name] = len(vectors) / median(spent[1:])
    console.print({f"embedded items per second, {name}": f"{rate:,.0f}" for name, rate in rates.items()})
    return {f"embedded_items_per_s_{name}": rate for name, rate in rates.items()} | {
        "embedding_gpu_vs_cpu": rates["gpu"] / rates["cpu"]
    }


if __name__ == "__main__":
    main(**{k: int(v) for k, v in (arg.split("=", 1) for arg in sys.argv[1:])})
