"""Raw log to prepared dataset: `python -m data.prepare data=movietweetings data.source.path=...`.

Survey the log (one pass: ids, times, what is wrong), fix vocabularies and split boundaries from it, then part the
interactions by user with Ray Data; each part is sorted, split and written by the task that holds it.
"""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from data.artifacts.folders import Folder
from data.cluster.console import show
from data.cluster.session import connect
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: prepares `data` and shows what came out."""
    connect(config.cluster)
    dataset = prepare(config.data, Folder.of(config.storage.root))
    show(_table(dataset))
    manifest = dataset.manifest
    return {"dataset": str(dataset.folder)} | {k: manifest[k] for k in ("fingerprint", "counts", "boundaries")}


def _table(dataset: PreparedDataset) -> Table:
    table = Table("", "count", title=f"dataset {dataset.manifest['name']} ({dataset.fingerprint[:10]})")
    for name, count in dataset.manifest["counts"].items():
        table.add_row(name, f"{count:,}")
    return table


if __name__ == "__main__":
    from conf.entry import launch

    launch("data.prepare")
