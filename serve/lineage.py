"""Where a release comes from, and what came of something: `python -m serve.lineage release=ID`, or `find=TEXT`.

`find` takes the beginning of a checkpoint's name or fingerprint, a dataset's, a commit, or a W&B run.
"""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.releases.lineage import found, lineage_of
from serve.releases.model_card import CARD
from serve.releases.registry import Registry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: of `release` (default: the live one), or of all that come of `find`."""
    registry = Registry.of(Folder.of(config.storage.root))
    ids = found(registry, config.find) if config.find else [registry.chosen(config.release)]
    lineages = {release_id: lineage_of(registry.manifest(release_id)) for release_id in ids}
    for release_id, of in lineages.items():
        shown = Table(title=f"release {release_id}", show_header=False)
        for name, value in of.items():
            shown.add_row(name, "" if value is None else str(value))
        show(shown)
        print(f"Card: {registry.path(release_id)}/{CARD}; resolved config: `config` in manifest.json beside it")
    return {"releases": lineages}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.lineage")
