"""Sixteen short trials by `hydra/launcher=ray`, beside Hydra's joblib and basic launchers in the same run:
`python -m tests.benchmarks.bench_sweep [trials=16] [slots=2]`.

Each trial is the same work on one thread (harness/trial.py). The ideal: the sum of the trials' own times over
the slots; the wall time is that from the first one's beginning to the last one's end, so that starting Ray (or joblib's
processes) is left out, and whatever comes between trials is not. Then trainings, by the Ray launcher, by its records.
Writes var/bench/sweep.{md,json}.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.benchmarks.harness.tables import write
from tests.benchmarks.harness.trial import TOOK
from towers.sweeps.records import Records

ROOT = Path("var/bench-sweep")
STEPS = 16_000
"""Some seconds each."""

TRAINING = (
    f"storage.root={ROOT}", "tracking=off", "data.source.num_users=1000", "data.source.num_items=500", "train.epochs=8",
    "train.patience=0", "rerank.max_queries=200", "rerank.epochs=1", "evaluate.baselines=[]",
)  # fmt: skip

Times = list[tuple[float, float]]
"""When each trial began and ended, unix seconds."""


def main(trials: str = "16", slots: str = "2") -> None:
    console, count, width = Console(), int(trials), int(slots)
    launchers = {
        "basic": (["hydra/launcher=basic"], 1),
        "joblib": (["hydra/launcher=joblib", f"hydra.launcher.n_jobs={width}"], width),
        "ray": (["hydra/launcher=ray", f"hydra.launcher.max_concurrent={width}"], width),
    }
    rows = []
    for name, (own, side_by_side) in launchers.items():
        times, seconds = worked(name, own, count)
        rows.append(row(name, times, side_by_side, seconds))
        console.print(rows[-1])
    times, seconds = trained(count, width)
    rows.append(row("ray, trainings", times, width, seconds))
    of = {str(each["launcher"]): each for each in rows}
    ratios = {
        "packing_ratio": float(of["ray"]["packing_ratio"]),
        "packing_ratio_trainings": float(of["ray, trainings"]["packing_ratio"]),
        "packing_ratio_joblib": float(of["joblib"]["packing_ratio"]),
        "overhead_per_trial_s": float(of["ray"]["overhead_per_trial_s"]),
        "wall_over_joblib": float(of["ray"]["wall_s"]) / float(of["joblib"]["wall_s"]),
        "wall_over_basic": float(of["ray"]["wall_s"]) / float(of["basic"]["wall_s"]),
    }
    write("sweep", "Short trials side by side", {"trials": count, "slots": width}, rows, ratios, console)


def worked(name: str, own: Sequence[str], count: int) -> tuple[Times, float]:
    """The trials' times by a launcher, and the seconds of the whole command."""
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    swept = [f"number=range({count})", f"steps={STEPS}", f"hydra.sweep.dir={folder}"]
    seconds = command("tests.benchmarks.harness.trial", *swept, *own)
    found = [json.loads(path.read_text()) for path in folder.glob(f"*/{TOOK}")]
    assert len(found) == count, f"{len(found)} of {count} trials came to an end"
    return [(times["began"], times["ended"]) for times in found], seconds


def trained(count: int, width: int) -> tuple[Times, float]:
    """Of towers.train, with other seeds, by the Ray launcher's records."""
    shutil.rmtree(ROOT / "training", ignore_errors=True)
    shutil.rmtree(ROOT / "checkpoints", ignore_errors=True)
    folder = ROOT / "trainings"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "data.prepare", *TRAINING], check=True, stdout=subprocess.DEVNULL)
    own = ["hydra/launcher=ray", f"hydra.launcher.max_concurrent={width}", f"hydra.sweep.dir={folder}"]
    seconds = command("towers.train", f"seed=range({count})", *TRAINING, *own)
    records = Records(folder).read()
    assert len(records) == count
    return [(record.started_at, record.started_at + record.seconds) for record in records], seconds


def command(module: str, *arguments: str) -> float:
    """Seconds of a sweep."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, "-m", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def row(name: str, times: Times, slots: int, command_s: float) -> dict[str, object]:
    wall, work = (
        max(end for _, end in times) - min(start for start, _ in times),
        sum(end - start for start, end in times),
    )
    return {
        "launcher": name,
        "slots": slots,
        "wall_s": wall,
        "trial_s": work / len(times),
        "packing_ratio": wall / (work / slots),
        "overhead_per_trial_s": (wall * slots - work) / len(times),
        "command_s": command_s,
    }


if __name__ == "__main__":
    main(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
