"""Adds, changes or removes items of the live release without training: `python -m serve.refresh rows=FILE`.

The item tower of the live release embeds new and changed items by their features. The new release has the towers,
re-ranker and users of the live one, and the vectors of all items that did not change; `promote=true` makes it live at
once.

Examples:
    python -m serve.refresh rows=new.parquet promote=true
    python -m serve.refresh rows=new.parquet vectors=titles.parquet
    python -m serve.refresh items=[i00007]
"""

import time
from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.promotion import describe, promote

if TYPE_CHECKING:
    from conf.schema import Config

COUNTED = ("added", "changed", "withdrawn", "back")
"""What a refresh counts of the items, in its output and in the manifest of the release that it makes."""


def task(config: "Config") -> dict[str, Any]:
    """Adds or changes the items in the file `rows`, and removes `items`."""
    from conf.next_command import is_typed, is_typed_itself
    from serve.releases.building.restore import as_published
    from serve.releases.gate.gate import Gatekeeper
    from serve.releases.refresh import read_rows, refresh
    from towers.training.stages.measured_again import as_measured

    started = time.perf_counter()
    if not config.rows and not config.items:
        raise ConfigError(
            "rows: null; give a file of items to add or change, rows=..., or ids to take out, items=[...]"
        )
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    live = registry.open(registry.resolve(None))
    if config.vectors and not config.rows:
        raise ConfigError(f"vectors: {config.vectors} is of the items in a file, rows=...; name that, or leave it out")
    rows = read_rows(config.rows, live, vectors=config.vectors) if config.rows else None
    evaluate = as_measured(config.evaluate, live.manifest, is_typed)
    gatekeeper = Gatekeeper.of(config.gate, evaluate, config.force, config.reason)
    index = config.index
    if not is_typed_itself("index.algorithm"):
        index = as_published(index, live.id, live.manifest, verb="refresh")
    of = index, registry, live, rows, config.items
    release_id = refresh(*of, gatekeeper=gatekeeper, reason=config.reason)
    if release_id != live.id and config.promote:
        rollout = promote(config.index, registry, release_id, config.serve.ready_within_s, expected_live=live.id)
        print(f"refresh: {release_id} is live, {time.perf_counter() - started:.1f} s after the start of the command")
        print(f"  {describe(rollout)}")
        print(f"Next: {next_command('serve.rollback')} returns to the release before")
    elif release_id != live.id:
        print(f"Next: {next_command('serve.promote', f'release={release_id}')}")
    made = registry.manifest(release_id)["refreshed"] if release_id != live.id else dict.fromkeys(COUNTED, 0)
    return {"release": release_id, "from": live.id, **made}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.refresh")
