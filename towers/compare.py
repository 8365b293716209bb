"""Tests whether one checkpoint is better than another: `python -m towers.compare checkpoint=A baseline=B`.

Both are measured on the same users of the test part, and their differences are tested in pairs, user by user. There is
no correction for testing several metrics: decide on one metric before looking. Of a checkpoint with `train.fit_on=all`
its backtest is measured, and the output says so, and where the two have learned from different parts.

Examples:
    python -m towers.compare checkpoint=var/checkpoints/NEW baseline=var/checkpoints/OLD
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.session import connect
from data.dataset.split import TEST
from towers.training.tracking import Tracker

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Compares `checkpoint` (default: the one that this config trains) with `baseline`."""
    from conf.next_command import is_typed
    from towers.checkpoint.comparison import compare, open_baseline
    from towers.evaluation.presentation.present import present_differences
    from towers.training.runs import open_for
    from towers.training.stages.measured_again import as_measured, told_apart

    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    baseline = open_baseline(config.baseline, storage)
    checkpoint, dataset = open_for(config, storage, config.checkpoint, is_typed("data", "events.types"))
    evaluate = config.evaluate
    if config.checkpoint:
        evaluate = as_measured(evaluate, checkpoint.manifest, is_typed, print)
    found = compare(checkpoint, baseline, dataset, evaluate)
    names = {"checkpoint": str(checkpoint.folder), "baseline": str(baseline.folder)}
    title = f"{found.checkpoint.name} against {found.baseline.name}: {TEST} part, paired by user"
    kind = f"against-{baseline.name}"
    apart = told_apart(evaluate, checkpoint.manifest)
    of_both, more = {"evaluate": jsonable(evaluate)} | names, found.as_json()
    values = jsonable(config) | checkpoint.manifest["config"] | of_both | more
    with Tracker(config.tracking, checkpoint.name, values, kind, apart=apart) as tracker:
        present_differences(found.differences, title, evaluate.k, tracker)
    for note in found.notes:
        print(f"note: {note}")
    return {**names, **more, "split": TEST, "differences": [asdict(d) for d in found.differences]}


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.compare")
