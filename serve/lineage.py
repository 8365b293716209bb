"""Shows where a release comes from, or finds releases: `python -m serve.lineage release=ID`, or `find=TEXT`.

`find` takes the beginning of a checkpoint's name or fingerprint, a dataset's name or fingerprint, a commit, or a W&B
run.

Examples:
    python -m serve.lineage release=ID
    python -m serve.lineage find=COMMIT
"""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.releases.lineage import find_releases, read_lineage
from serve.releases.model_card import CARD_FILE
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Shows the lineage of `release` (default: the live one), or of all releases that `find` matches."""
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    if config.find:
        lineages = find_releases(registry, config.find)
    else:
        lineages = {(release_id := registry.resolve(config.release)): read_lineage(registry, release_id)}
    for release_id, lineage in lineages.items():
        table = Table(title=f"release {release_id}", show_header=False)
        for name, value in lineage.items():
            table.add_row(name, "" if value is None else str(value))
        show(table)
        print(f"Card: {registry.path(release_id)}/{CARD_FILE}; resolved config: `config` in manifest.json beside it")
    return {"releases": lineages}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.lineage")
