"""Full-catalogue evaluation beside popularity: `python -m towers.evaluate checkpoint=...`."""

from typing import TYPE_CHECKING, Any

from towers.report import evaluate
from towers.runs import open_for

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: measures `checkpoint` (default: the one that this config trains)."""
    from conf.session import connect, show

    connect(config.cluster)
    checkpoint, dataset = open_for(config)
    report = evaluate(checkpoint.model, checkpoint.reranker, dataset, checkpoint.counts_I, config.evaluate)
    show(report.table(checkpoint.name))
    return {"checkpoint": str(checkpoint.folder), **report.as_json()}


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.evaluate")
