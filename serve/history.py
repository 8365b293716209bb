"""Shows who did what: `python -m serve.history`, newest first.

Examples:
    python -m serve.history
    python -m serve.history last=100
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.artifacts.records.json_files import left_out
from data.cluster.console import show
from serve.releases.audit.changes import history_of
from serve.releases.audit.history import history_table
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Prints the `last` operations on releases, keys and approvals."""
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    try:
        live = registry.live()
    except ReleaseError as e:  # whose cure is in the history
        left_out(f"{e}")
        live = None
    entries = history_of(registry.folder, live, config.last)
    if entries:
        show(history_table(entries))
    else:
        print(f"{registry.folder}: nothing has been done yet")
    return {"history": entries}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.history")
