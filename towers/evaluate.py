"""Full-catalogue evaluation beside its baselines: `python -m towers.evaluate checkpoint=...`.

Examples:
    python -m towers.evaluate checkpoint=var/checkpoints/NAME
    python -m towers.evaluate data=gowalla evaluate.k=10
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.session import connect
from towers.evaluation.presentation.published import published_beside
from towers.training.tracking import Tracker

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Measures `checkpoint` (default: the one that this config trains on the log as it is) on its test part."""
    from conf.entry import run_folder
    from conf.next_command import is_typed
    from towers.checkpoint.backtest import measurable
    from towers.evaluation.presentation.present import present
    from towers.sweeps.trial import current_sweep
    from towers.training.runs import open_for
    from towers.training.stages.measured_again import as_measured, measure_checkpoint, told_apart

    connect(config.cluster)
    has_data = is_typed("data", "events.types")
    trained, dataset = open_for(config, Folder.of(config.storage.root), config.checkpoint, has_data)
    checkpoint = measurable(trained)
    if checkpoint is not trained:
        print(f"{trained.name} has seen the test part: its backtest {checkpoint.name} is measured in its place")
    evaluate = config.evaluate
    if config.checkpoint:
        evaluate = as_measured(evaluate, trained.manifest, is_typed, print)
    report = measure_checkpoint(evaluate, checkpoint, dataset)
    values = jsonable(config) | checkpoint.manifest["config"] | {"evaluate": jsonable(evaluate)}
    published = published_beside(evaluate, dataset.manifest)
    apart = told_apart(evaluate, checkpoint.manifest)
    with Tracker(config.tracking, checkpoint.name, values, "evaluate", current_sweep(), apart) as tracker:
        found = present(report, checkpoint.name, published, tracker, run_folder())
    return {"checkpoint": str(checkpoint.folder)} | found


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.evaluate")
