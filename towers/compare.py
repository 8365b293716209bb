"""Is one model better than another, or lucky with its users? `python -m towers.compare checkpoint=A baseline=B`.

Both are measured on the same users of the test part; each user's difference is a pair. For each metric: the mean
difference, its bootstrap interval, and the p of a sign-flip test (towers/evaluation/intervals.py). No correction is made for
looking at several metrics: decide on one beforehand.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.console import show
from data.cluster.session import connect
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.comparison import compare
from towers.evaluation.paired import cells, table
from towers.training.runs import open_for
from towers.training.tracking import Tracker

if TYPE_CHECKING:
    from conf.schema import Config


def _opened(config: "Config") -> tuple[Checkpoint, Checkpoint, PreparedDataset]:
    """`checkpoint` (default: the one that this config trains), `baseline`, and the dataset they tell of."""
    if not config.baseline:
        raise ConfigError(
            "baseline: null is no checkpoint folder; name the one to compare with, baseline=var/checkpoints/..."
        )
    baseline = open_checkpoint(Folder.of(config.baseline))
    if not config.checkpoint:
        checkpoint, dataset = open_for(config, Folder.of(config.storage.root), None)
        return checkpoint, baseline, dataset
    checkpoint = open_checkpoint(Folder.of(config.checkpoint))
    return checkpoint, baseline, PreparedDataset.open(Folder.of(checkpoint.manifest["dataset"]["folder"]))


def task(config: "Config") -> dict[str, Any]:
    """Entry point: a paired test of `checkpoint` against `baseline`."""
    connect(config.cluster)
    checkpoint, baseline, dataset = _opened(config)
    found = compare(checkpoint, baseline, dataset, config.evaluate)
    show(table(found, f"{checkpoint.name} against {baseline.name}: {TEST} part, paired by user", config.evaluate.k))
    names = {"checkpoint": str(checkpoint.folder), "baseline": str(baseline.folder)}
    tracker = Tracker(config.tracking, checkpoint.name, jsonable(config) | names, kind=f"against-{baseline.name}")
    tracker.show({f"{d.ranking}/{d.metric}/difference": d.difference for d in found}, {"differences": cells(found)})
    tracker.finish()
    return {**names, "split": TEST, "differences": [asdict(d) for d in found]}


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.compare")
