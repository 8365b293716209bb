"""What a log costs as it grows, from preparation to the release: `python -m tests.benchmarks.growth.bench_log_size
[sizes=1000000,10000000] [OVERRIDES ...]`. A small form: `sizes=300000,1000000`, a large one
`sizes=10000000,100000000`.

A synthetic log is made by Ray Data, with a user for every 20 interactions and an item for every 100. It is prepared,
one epoch is trained, the checkpoint is evaluated and published, each by a process of its own, as by the commands.
Memory is watched from outside: the driver's is all that is resident in it, and that of all processes together counts
what they share once.
Seconds of computation (cpu) are those of all processes, and say more than the clock where others use the machine.
Users are described by their histories, so that no table has a row for each user, and workers stream the log. Epochs are
compared, the re-ranker is fitted and the result is measured by a sample of users. Writes
var/bench/log_size.{md,json,png}; the ratios that `make bench-streaming` and `make bench-tables` left are in it too.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
from rich.console import Console

from conf.schema import Config, load
from data.artifacts.folders import Folder
from tests.benchmarks.growth.blocks import LogOfBlocks
from tests.benchmarks.growth.memory import Watch
from tests.benchmarks.harness.tables import FOLDER, write

PER_USER, PER_ITEM, GIB, M = 20, 100, 1024, 1_000_000
STEPS = ("prepare", "train", "evaluate", "publish")
ROOT = Path("var/bench-log-size")
OF_OTHERS = {"streaming": ["streaming_ratio"], "tables": ["sharded_memory_ratio", "sharded_throughput_ratio"]}
"""What other benchmarks measure of a log's size, by the name of each."""
FIXED = (
    "tracking=off", "data.source.num_users=300", "data.users_per_part=50000", "model.embedding_dim=32",
    "model.user_ids=false", "model.history_length=20", "train.epochs=1", "train.batch_size=8192",
    "train.in_memory_rows=0",
    "train.validation_users=2000", "rerank.max_queries=2000", "rerank.epochs=1", "evaluate.max_users=2000",
    "evaluate.baselines=[popularity]",
)  # fmt: skip


def main(sizes: Sequence[int], overrides: Sequence[str]) -> None:
    rows = [row for size in sizes for row in of_size(size, overrides)]
    facts = {"interactions per user": PER_USER, "per item": PER_ITEM, "overrides": " ".join(overrides)}
    if not rows:
        sys.exit("no step came to its end")
    write("log_size", "What a log costs as it grows", facts, rows, ratios(rows) | of_others(), Console())
    draw(rows, FOLDER / "log_size.png")


def of_size(size: int, overrides: Sequence[str]) -> list[dict[str, object]]:
    """A row for each step, up to one that does not come to its end."""
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.mkdir(parents=True)
    rows: list[dict[str, object]] = []
    for step in STEPS:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.growth.bench_log_size", f"one={size}", f"step={step}", *overrides]
        )
        with Watch(process.pid) as watch:
            status = process.wait()
        if status or not (said := ROOT / f"{step}.json").exists():
            print(f"{size:,} interactions: {step} ended with status {status}")
            break
        rows.append(row_of(size, step, json.loads(said.read_text()), watch))
    return rows


def row_of(size: int, step: str, of: Mapping[str, float], watch: Watch) -> dict[str, object]:
    """What a step has cost; `of` says when it began and ended, and what else it says."""
    own, together = watch.most(of["began"], of["ended"])
    seconds = of["ended"] - of["began"]
    return {
        "interactions": size,
        "step": step,
        "seconds": seconds,
        "us_per_interaction": seconds / size * 1e6,
        "cpu_us_per_interaction": watch.computed(of["began"], of["ended"]) / size * 1e6,
        "driver_gib": own / GIB,
        "total_gib": together / GIB,
        **{key: of.get(key) for key in ("positives_per_s", "recall")},
    }


def ratios(rows: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
    """The driver's peak and that of all together by size, and how they and the time grow from size to size."""
    keys = ("driver_gib", "total_gib", "us_per_interaction", "cpu_us_per_interaction")
    found: dict[str, float | None] = {}
    whole = {size: total(rows, size) for size in dict.fromkeys(row["interactions"] for row in rows)}
    whole = {size: of for size, of in whole.items() if of["steps"] == len(STEPS)}
    for size, of in whole.items():
        found |= {f"{key}_{short(size)}": of[key] for key in keys}
    for before, after in zip(list(whole)[:-1], list(whole)[1:], strict=True):
        names = f"{short(after)}_{short(before)}"
        found[f"driver_gib_ratio_{names}"] = whole[after]["driver_gib"] / whole[before]["driver_gib"]
        for name, key in (("time", "us_per_interaction"), ("cpu", "cpu_us_per_interaction")):
            found[f"{name}_per_interaction_ratio_{names}"] = whole[after][key] / whole[before][key]
    return found


def of_others() -> dict[str, float | None]:
    """The ratios that other benchmarks left under var/bench; None for one that was not run."""
    found = {name: FOLDER / f"{name}.json" for name in OF_OTHERS}
    left = {name: json.loads(path.read_text()) if path.exists() else {} for name, path in found.items()}
    return {key: left[name].get(key) for name, keys in OF_OTHERS.items() for key in keys}


def total(rows: Sequence[Mapping[str, object]], size: object) -> dict[str, float]:
    of_size = [row for row in rows if row["interactions"] == size]
    over_steps = {"driver_gib": max, "total_gib": max, "us_per_interaction": sum, "cpu_us_per_interaction": sum}
    found = {key: fold(float(str(row[key])) for row in of_size) for key, fold in over_steps.items()}
    return {"steps": len(of_size)} | found


def short(size: object) -> str:
    number = int(str(size))
    return f"{number // M}m" if number % M == 0 else f"{number // 1000}k"


def draw(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Cost against size: memory of the driver and of all together, and time per interaction, by step."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), layout="constrained")
    columns = {
        "driver_gib": "driver, GiB",
        "total_gib": "all processes, GiB",
        "us_per_interaction": "µs an interaction",
    }
    for axis, (column, label) in zip(axes, columns.items(), strict=True):
        for step in STEPS:
            of_step = [row for row in rows if row["step"] == step]
            axis.plot([row["interactions"] for row in of_step], [row[column] for row in of_step], "o-", label=step)
        axis.set(xscale="log", xlabel="interactions", ylabel=label, ylim=(0, None))
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def one(size: int, step: str, overrides: Sequence[str]) -> None:
    """A step on a log of this size; writes when it began and ended."""
    from data.cluster.session import ClusterConfig, connect

    config = configured(size, overrides)
    run = steps(config, Folder.of(config.storage.root))[step]
    connect(ClusterConfig(dashboard=False))
    began = time.time()
    said = run()
    (ROOT / f"{step}.json").write_text(json.dumps({"began": began, "ended": time.time()} | said))


def configured(size: int, overrides: Sequence[str]) -> Config:
    config = load([f"storage.root={ROOT}/var", f"index.uri={ROOT}/milvus.db", *FIXED, *overrides])
    users, items = max(size // PER_USER, 100), max(size // PER_ITEM, 100)
    source = LogOfBlocks(interactions=size, users=users, items=items)
    return replace(config, data=replace(config.data, name="grown", source=source))


def steps(config: Config, storage: Folder) -> dict[str, Callable[[], dict[str, float]]]:
    from data.dataset.preparation import prepare
    from serve.index.connection import milvus_address
    from serve.releases.publish import publish
    from towers.checkpoint.checkpoint import open_checkpoint
    from towers.evaluation.measure import evaluate as measured
    from towers.model.config import FittedSplits
    from towers.training.fit import train
    from towers.training.runs import checkpoint_folder

    def run_prepare() -> dict[str, float]:
        prepare(config.data, storage)
        return {}

    def run_train() -> dict[str, float]:
        totals = train(config, prepare(config.data, storage), storage).manifest["training"]
        return {"positives_per_s": totals["examples"] / totals["seconds"]}

    def run_evaluate() -> dict[str, float]:
        dataset = prepare(config.data, storage)
        of = open_checkpoint(checkpoint_folder(config, dataset, storage))
        fit_on = FittedSplits(of.manifest["fit_on"])
        report = measured(of.model, of.reranker, dataset, fit_on, config.evaluate, of.item_vectors_ID, of.ties)
        return {"recall": report.metrics["recall@20"]}

    def run_publish() -> dict[str, float]:
        dataset = prepare(config.data, storage)
        with milvus_address(config.index):
            publish(config.index, open_checkpoint(checkpoint_folder(config, dataset, storage)), storage)
        return {}

    return dict(zip(STEPS, (run_prepare, run_train, run_evaluate, run_publish), strict=True))


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    own = {key: given.pop(key) for key in ("sizes", "one", "step") if key in given}
    rest = [f"{key}={value}" for key, value in given.items()]
    if "one" in own:
        one(int(own["one"]), own["step"], rest)
    else:
        main([int(size) for size in own.get("sizes", "1000000,10000000").split(",")], rest)
