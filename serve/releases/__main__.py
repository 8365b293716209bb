"""Lists all releases: `python -m serve.releases`.

Examples:
    python -m serve.releases
    python -m serve.releases storage.root=s3://bucket/twotower
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.releases.listing import list_releases, releases_table
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Prints a table of all releases, newest first."""
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    rows = list_releases(registry)
    if rows:
        show(releases_table(rows, datetime.now(UTC)))
    else:
        print(f"{registry.folder}: no release yet; run python -m serve.publish")
    return {"releases": rows}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.releases")
