"""Shows who did what: `python -m serve.history`, newest first.

Examples:
    python -m serve.history
    python -m serve.history last=100
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.releases.audit.history import history_table, read_history
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Prints the `last` operations on releases, keys and approvals."""
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    entries = read_history(registry.folder, config.last)
    if entries:
        show(history_table(entries))
    else:
        print(f"{registry.folder}: nothing has been done yet")
    return {"history": entries}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.history")
