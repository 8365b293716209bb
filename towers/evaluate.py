"""Full-catalogue evaluation beside its baselines: `python -m towers.evaluate checkpoint=...`."""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.session import connect
from towers.evaluation.measure import evaluate
from towers.evaluation.presentation.present import present
from towers.model.build import FittedSplits
from towers.sweeps.trial import current_sweep
from towers.training.runs import open_for
from towers.training.tracking import Tracker

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Measures `checkpoint` (default: the one that this config trains) on the test part of its dataset."""
    from conf.entry import run_folder

    connect(config.cluster)
    checkpoint, dataset = open_for(config, Folder.of(config.storage.root), config.checkpoint)
    fit_on = FittedSplits(checkpoint.manifest["fit_on"])
    model, reranker, item_ID = checkpoint.model, checkpoint.reranker, checkpoint.item_vectors_ID
    report = evaluate(model, reranker, dataset, fit_on, config.evaluate, item_ID, checkpoint.ties)
    tracking, values = config.tracking, jsonable(config)
    with Tracker(tracking, checkpoint.name, values, kind="evaluate", group=current_sweep()) as tracker:
        found = present(report, checkpoint.name, config.evaluate.published, tracker, run_folder())
    return {"checkpoint": str(checkpoint.folder)} | found


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.evaluate")
