"""Items added, changed or taken out of the live release, without training: `python -m serve.refresh rows=FILE`.

The live release's item tower embeds what is new by its features. The new release has the towers, re-ranker and users of
the live one, and the vectors of all items that did not change; `promote=true` makes it live at once.
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve.releases.gate.gate import Gatekeeper
from serve.releases.refresh import read_rows, refresh
from serve.releases.registry import Registry
from serve.rollout.promotion import promote, told

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: of the live release, by `rows` and `items` (to be taken out)."""
    started = time.perf_counter()
    if not config.rows and not config.items:
        raise ConfigError(
            "rows: null; give a file of items to add or change, rows=..., or ids to take out, items=[...]"
        )
    registry = Registry.of(Folder.of(config.storage.root))
    release = registry.open(registry.chosen(None))
    rows = read_rows(config.rows, release) if config.rows else None
    keeper = Gatekeeper.of(config.gate, config.evaluate, config.force, config.reason)
    id_ = refresh(config.index, registry, release, rows, config.items, keeper=keeper)
    summary = {"release": id_, "from": release.id, **registry.manifest(id_).get("refreshed", {})}
    if id_ == release.id:
        return summary
    if not config.promote:
        print(f"Next: python -m serve.promote release={id_}")
        return summary
    switched = promote(config.index, registry, id_, config.serve.ready_within_s, instead_of=release.id)
    print(f"refresh: {id_} is live, {time.perf_counter() - started:.1f} s after it was asked for; {told(switched)}")
    print("Next: python -m serve.rollback takes it back")
    return summary


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.refresh")
