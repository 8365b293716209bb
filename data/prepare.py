"""Command: prepares a dataset from a raw log, `python -m data.prepare data=movietweetings data.source.path=...`.

It prints the counts of the dataset and its first and last time. A dataset that was prepared before from the same files
and config is reused.

Examples:
    python -m data.prepare
    python -m data.prepare data=movietweetings data.source.path=datasets/MovieTweetings/latest
    python -m data.prepare data=csv data.source.interactions=log.csv
"""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from data.artifacts.folders import Folder
from data.cluster.console import show
from data.cluster.session import connect
from data.dataset.prepared import PreparedDataset

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Prepares the dataset of `config.data`, prints its counts and times, and returns parts of its manifest."""
    from data.dataset.preparation import prepare

    connect(config.cluster)
    dataset = prepare(config.data, Folder.of(config.storage.root))
    show(_table(dataset))
    manifest = dataset.manifest
    parts = ("fingerprint", "counts", "boundaries", "clock", "coverage", "missing", "notes")
    return {"dataset": str(dataset.folder)} | {name: manifest[name] for name in parts if name in manifest}


def _table(dataset: PreparedDataset) -> Table:
    table = Table("", "count", title=f"dataset {dataset.manifest['name']} ({dataset.fingerprint[:10]})")
    for name, count in dataset.manifest["counts"].items():
        table.add_row(name, f"{count:,}")
    if (clock := dataset.clock) is not None:
        table.add_row("first time", clock.formatted(clock.first))
        table.add_row("last time", clock.formatted(clock.last))
    return table


if __name__ == "__main__":
    from conf.entry import launch

    launch("data.prepare")
