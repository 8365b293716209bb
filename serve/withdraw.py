"""Takes items out of every answer at once: `python -m serve.withdraw items=[i00007] reason='recalled'`.

It holds for all releases, those to come too, until `restore=true` ends it. Replicas leave the items out by their next
look at the pointer, and the command returns when all of them do.
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve.releases.registry import Registry
from serve.rollout.denylist import listed, restore, withdraw

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: withdraws `items`, or with `restore` brings them back; with neither it lists what is withdrawn."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    if not config.items:
        found = listed(registry, registry.live())
        for item, told in found.items():
            print(f"withdraw: {item} since {told['since']}: {told['reason']}")
        print(f"withdraw: {len(found)} items are withdrawn")
        return {"withdrawn": found}
    if config.restore:
        switched = restore(registry, config.items, config.serve.ready_within_s)
    elif not config.reason:
        raise ConfigError("reason: null; a withdrawal needs one, for the record; reason='...'")
    else:
        switched = withdraw(registry, config.items, config.reason, config.serve.ready_within_s)
    behind = f"; not yet known to {', '.join(switched.behind)}" if switched.behind else ""
    what = "back" if config.restore else "in no answer any more"
    print(f"withdraw: {len(config.items)} items are {what}, {time.perf_counter() - started:.2f} s{behind}")
    return {"withdrawn": listed(registry, switched.live)}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.withdraw")
