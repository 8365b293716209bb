"""Trains both towers with Ray Train: `python -m towers.train data=movietweetings data.source.path=...`.

Prepares the dataset if that was not done before, fits the towers and the re-ranker, measures both on the test part and
seals the result as a checkpoint. After a kill, the same command resumes from the last complete epoch and ends with the
same weights; with several workers, if Ray has as many CPUs as before, by which the log is divided among them.

Examples:
    python -m towers.train data=gowalla
    python -m towers.train train.epochs=5 model=transformer
    python -m towers.train -m model.embedding_dim=32,64 seeds=3
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.session import connect
from towers.evaluation.presentation.published import published_beside
from towers.training.config import check_recipe, unmeasured, unreported
from towers.training.tracking import Tracker

if TYPE_CHECKING:
    from conf.schema import Config


def demand(config: "Config") -> tuple[list[dict[str, float]], dict[str, str]]:
    """What a sweep reserves for this command: a bundle of resources per worker, and the labels of their nodes.

    Raises:
        ConfigError: parts of the configuration do not go together, so that the trial would fail later.
    """
    check_recipe(config)
    return [config.train.resources()] * config.train.num_workers, dict(config.train.labels)


def missing_value(config: "Config", objective: str, halving: str | None) -> str | None:
    """Why a search cannot use these values of a training; None where it may.

    Args:
        objective: a dotted path into what `task` returns.
        halving: the value of an epoch by which trials are compared; None where they are not.
    """
    if (reason := unmeasured(objective, config)) is not None:
        return f"hydra.sweeper.objectives: {objective}: {reason}"
    if halving is not None and (reason := unreported(halving, config)) is not None:
        return f"hydra.sweeper.halving.metric: {halving}: {reason}"
    return None


def task(config: "Config") -> dict[str, Any]:
    """Trains; returns the checkpoint's folder, its training totals, its cost and what the report shows."""
    from towers.sweeps.trial import living

    with living():  # also while it prepares its log, and is measured
        return _train(config)


def _train(config: "Config") -> dict[str, Any]:
    from conf.entry import run_folder
    from towers.checkpoint.cost import cost
    from towers.evaluation.presentation.present import present
    from towers.sweeps.reuse.datasets import dataset_of_trial
    from towers.sweeps.trial import current_sweep
    from towers.training.fit import train
    from towers.training.stages.measured_again import report_by, told_apart

    check_recipe(config)
    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    dataset = dataset_of_trial(config.data, storage)
    checkpoint = train(config, dataset, storage)
    published = published_beside(config.evaluate, dataset.manifest)
    summary = {
        "checkpoint": str(checkpoint.folder),
        "training": checkpoint.manifest["training"],
        "cost": cost(checkpoint),
    }
    report = report_by(config.evaluate, checkpoint, dataset)
    tracking, values = config.tracking, jsonable(config)
    apart = told_apart(config.evaluate, checkpoint.manifest)
    with Tracker(tracking, checkpoint.name, values, "evaluate", current_sweep(), apart) as tracker:
        return summary | present(report, checkpoint.name, published, tracker, run_folder())


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.train")
